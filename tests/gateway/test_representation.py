"""What clients see of tasks and factorizations."""

import time

import msgspec
import pytest
from msgspec.structs import replace

from common.domain import Certainty, Ending, Factorization, Part, SieveState, Status, Task
from common.domain.factorizations import begin
from common.lifecycle import aim, new_task
from gateway.views import models, representation
from tests.gateway.work import ended, part


def task_for(number: int, known: Factorization | None = None) -> Task:
    """Return a new task, ended already if the work has."""
    task = new_task(number, str(number), "anonymous", at=1.7e9)
    return aim(task, known) if known else task


def legacy_and_result(number: int, known: Factorization | None) -> tuple[str, str | None]:
    """Return the two forms in which a task shows its factors."""
    task = task_for(number, known)
    return (
        representation.legacy(task, known).result,
        representation.view(task, known).result,
    )


@pytest.mark.parametrize("number", [0, 1, -1])
def test_small_integers_are_their_own_answers(number: int) -> None:
    """0, 1 and -1 have no factorization and succeed at once."""
    assert (str(number), str(number)) == legacy_and_result(number, None)


@pytest.mark.parametrize(
    ("number", "parts", "expected"),
    [
        (1234, [part(617), part(2)], "2,617"),
        (7, [part(7)], "7"),
        (-7, [part(7)], "-1,7"),
        (-12, [part(3), part(2, 2)], "-1,2,2,3"),
        (2**64, [part(2, 64)], ",".join(["2"] * 64)),
        (10007, [part(10007, certainty=Certainty.PROBABLE)], "10007"),
    ],
)
def test_primes_come_ascending_with_multiplicity(
    number: int, parts: list[Part], expected: str
) -> None:
    """The result is comma-separated, with the sign first."""
    assert (expected, expected) == legacy_and_result(number, ended(abs(number), *parts))


def test_partial_work_shows_composites_in_brackets() -> None:
    """/get says Partial and marks composites; the task's result stays null."""
    left = part(91, certainty=Certainty.COMPOSITE)
    known = ended(182, part(2), left, status=Status.PARTIAL, reason="effort spent")

    assert ("Partial: 2,C(91)", None) == legacy_and_result(182, known)


def test_failed_work_says_why() -> None:
    """Both representations have the reason."""
    left = part(91, certainty=Certainty.UNKNOWN)
    known = ended(91, left, status=Status.FAILED, reason="out of memory")
    task = task_for(91, known)

    assert "Failed: out of memory" == representation.legacy(task, known).result
    assert "out of memory" == representation.view(task, known).reason


@pytest.mark.usefixtures("every_number_queued")
def test_unfinished_work_is_calculating() -> None:
    """Before the end /get says Calculating, and the status tells queued from running."""
    known = begin(91, 1.0)
    task = task_for(91)

    assert ("Calculating...", None) == legacy_and_result(91, known)
    assert Status.QUEUED == representation.view(task, None).status
    assert Status.QUEUED == representation.view(task, known).status
    assert Status.RUNNING == representation.view(task, known.touched(2.0)).status


@pytest.mark.usefixtures("every_number_queued")
def test_version_grows_with_every_change() -> None:
    """New, joined, progressed, cancelled: each has a larger version than the one before."""
    task, known = task_for(91), begin(91, 1.0)
    cancelled = replace(task, ended=Ending(status=Status.CANCELLED, at=time.time()))
    steps = [
        (task, None),
        (task, known),
        (task, known.touched(2.0)),
        (cancelled, known.touched(2.0)),
    ]
    versions = [representation.view(*step).version for step in steps]

    assert sorted(set(versions)) == versions


def test_minus_one_is_a_factor_of_negative_numbers() -> None:
    """The list of factors of a negative number starts with -1."""
    shown = representation.view(task_for(-7), ended(7, part(7)))

    assert [("-1", "unit"), ("7", "proven")] == [(f.prime, f.certainty) for f in shown.factors]


@pytest.mark.parametrize(
    ("number", "known", "expected"),
    [
        (0, None, "Zero"),
        (1, None, "Unit"),
        (-1, None, "Unit"),
        (15, None, "U"),
        (15, begin(15, 1.0), "U"),
        (15, replace(begin(15, 1.0), parts=(part(15, 1, Certainty.COMPOSITE),)), "C"),
        (30, replace(begin(30, 1.0), parts=(part(2), part(15, 1, Certainty.COMPOSITE))), "CF"),
        (15, ended(15, part(3), part(5)), "FF"),
        (9, ended(9, part(3, 2)), "FF"),
        (7, ended(7, part(7)), "P"),
        (7, ended(7, part(7, 1, Certainty.PROBABLE)), "PRP"),
        (-7, ended(7, part(7)), "FF"),
    ],
)
def test_numbers_have_the_status_of_factordb(
    number: int, known: Factorization | None, expected: str
) -> None:
    """Whatever is known about a number has FactorDB's code."""
    assert expected == representation.number_view(number, known).status


def test_every_value_survives_javascript() -> None:
    """Integers of any size travel as strings; times are RFC 3339."""
    number = 10**999 + 7
    shown = msgspec.json.decode(msgspec.json.encode(representation.view(task_for(number), None)))

    assert str(number) == shown["number"]
    assert shown["created_at"].endswith("+00:00")
    assert f"/tasks/{shown['task_id']}" == shown["links"]["self"]


def test_progress_counts_digits_and_units() -> None:
    """The fraction is the share of digits that is split; the first unit is still outstanding."""
    known = replace(begin(30, 1.0), version=2, parts=(part(2), part(15, 1, Certainty.COMPOSITE)))
    progress = representation.view(task_for(30), known).progress

    assert ("survey", 1, 1) == (
        progress.stage,
        progress.units_issued,
        progress.units_outstanding,
    )
    assert progress.fraction == pytest.approx(0.2038)
    assert isinstance(progress, models.Progress)


SIEVING = SieveState(
    parameters={},
    next_index=60,
    indices=50,
    full=2_000,
    partial=30_000,
    usable=5_000,
    needed=20_000,
    expected_indices=110,
    cpu_seconds=20.0,
    marks=((100.0, 30, 20_000), (105.0, 40, 26_000)),
)


def sieving(**changes: object) -> models.Progress:
    """Return the progress of a number whose composite is being sieved."""
    composite = replace(
        part(10**70 + 33, certainty=Certainty.COMPOSITE), sieve=replace(SIEVING, **changes)
    )
    known = replace(
        begin(composite.value, 1.0),
        version=9,
        parts=(composite,),
        touched_at=110.0,
        cpu_seconds=30.0,
        workers={"w1": 109.0, "w2": 90.0},
    )
    return representation.view(task_for(10**70 + 33), known).progress


def test_a_sieve_tells_its_relations_rate_and_end() -> None:
    """Rates are measured since the oldest mark, and the rest follows from the forecast."""
    progress = sieving()

    assert progress.sieve is not None
    assert (5_000, 20_000) == (progress.sieve.usable, progress.sieve.needed)
    assert (2_000, 30_000, 1_200.0) == (
        progress.sieve.full,
        progress.sieve.partial,
        progress.sieve.rate,
    )
    assert 60 / 2.0 == progress.eta_seconds  # 60 indices at 20 in 10 seconds
    assert 30.0 + 60 * 20.0 / 50 == progress.estimate_cpu_seconds
    assert 2 == progress.workers


def test_what_cannot_be_estimated_yet_is_null() -> None:
    """Before the first mark there is no rate, and without a rate no ETA."""
    progress = sieving(marks=())

    assert progress.sieve is not None
    assert (None, None) == (progress.sieve.rate, progress.eta_seconds)


def test_there_is_an_estimate_before_any_work() -> None:
    """The size of a number gives an estimate, up to the largest that the sieve can do."""
    estimates = [
        representation.number_view(10**digits + 1, None).progress.estimate_cpu_seconds
        for digits in (9, 39, 69, 99, 300)
    ]

    assert None is estimates.pop()
    known = [estimate for estimate in estimates if estimate is not None]
    assert len(known) == 4
    assert known == sorted(known)
