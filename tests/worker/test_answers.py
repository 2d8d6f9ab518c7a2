"""A child that was taken over answers whatever it likes: nothing of it is executed or believed."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import structlog

from common.domain import BigInt, Curves, Fault, Method, Sieve, Solve, Survey, Work
from factor_worker.slots import forkserver, messages
from factor_worker.slots.errors import UnitFailed
from factor_worker.slots.slot import Slot
from tests import waiting
from tests.worker import impostors
from tests.worker.children import GENEROUS, child_of

P, Q = 10**12 + 39, 10**12 + 61
TARGET = BigInt(P * Q)
SURVEY = Survey(TARGET)
SIEVE = Sieve(TARGET, {}, 40, 10)
PIECES = [
    {"value": str(P), "exponent": 1, "certainty": "proven"},
    {"value": str(Q), "exponent": 1, "certainty": "proven"},
]


def result(**fields: object) -> bytes:
    """Return the answer of a child, with these members."""
    return impostors.packed({"type": "result", **fields})


def piece(value: object, exponent: object = 1, certainty: object = "proven") -> dict[str, object]:
    """Return what a child may say of a divisor."""
    return {"value": value, "exponent": exponent, "certainty": certainty}


def is_dead(process: psutil.Process) -> bool:
    """Return whether a process has ended; its parent may not know it yet."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def answer_of(
    monkeypatch: pytest.MonkeyPatch,
    impostor: Callable[..., forkserver.Process],
    work: Work = SURVEY,
    seconds: float = 600,
) -> UnitFailed:
    """Return how a unit fails whose child is an impostor; the child is gone, and its slot goes on."""
    deaths: list[str] = []
    slot = Slot(GENEROUS._replace(unit_seconds=seconds), on_death=deaths.append)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(forkserver, "launch", impostor)
            await slot.start()
            child = child_of(slot)
            with pytest.raises(UnitFailed) as caught:
                await slot.compute(work)
        assert len(deaths) == 1
        await waiting.until(lambda: is_dead(child), "the end of the child")
        assert (await slot.compute(SURVEY)).pieces
    finally:
        await slot.close()
    return caught.value


async def test_a_pickle_is_not_executed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A child could otherwise run what it likes in the process that has the passwords."""
    written = tmp_path / "written-by"
    careless = (True, impostors.WritesFile(written))
    with structlog.testing.capture_logs() as logs:
        failed = await answer_of(monkeypatch, impostors.answering(impostors.pickled(careless)))

    assert failed.failure.fault is Fault.WRONG
    assert not written.exists()
    assert ["Child process killed, because it gave no valid answer"] == [
        line["event"] for line in logs if line["log_level"] == "error"
    ]


def test_a_pickle_as_a_greeting_is_not_executed(tmp_path: Path) -> None:
    """The first thing that a child says is no exception."""
    with pytest.raises(messages.NotBelieved):
        messages.Inbox().receive(
            impostors.pickled((True, impostors.WritesFile(tmp_path / "written")))
        )

    assert [] == list(tmp_path.iterdir())


WRONG: list[tuple[Work, bytes, str]] = [
    (SURVEY, impostors.framed(b"\xc1"), "malformed"),
    (SURVEY, impostors.framed(b""), "truncated"),
    (SURVEY, impostors.framed(result(pieces=PIECES)[8:-1]), "truncated"),
    (SURVEY, impostors.packed([PIECES]), "Expected `object`"),
    (SURVEY, impostors.packed({"pieces": PIECES}), "required field `type`"),
    (
        SURVEY,
        impostors.packed({"type": "raised", "fault": "undelivered", "detail": ""}),
        "Invalid enum",
    ),
    (SURVEY, impostors.packed({"type": "raised", "fault": "crash", "detail": "x" * 2001}), "2000"),
    (SURVEY, impostors.framed(b"\x82\xa4type\xa6result\xa1x" + b"\x91" * 100_000), "recursion"),
    (SURVEY, (1 << 63).to_bytes(8, "big"), "bytes, where at most"),
    (SURVEY, (messages.SMALL_BYTES + 1).to_bytes(8, "big"), "bytes, where at most"),
    (SIEVE, (messages.LARGE_BYTES + 1).to_bytes(8, "big"), "bytes, where at most"),
    (SURVEY, result(pieces=[piece(15)]), "decimal string"),
    (SURVEY, result(pieces=[piece("0x1f")]), "invalid literal"),
    (SURVEY, result(pieces=[piece("9" * 100_000)]), "Exceeds the limit"),
    (SURVEY, result(pieces=[piece("-7")]), "no divisor"),
    (SURVEY, result(pieces=[piece("1")]), "no divisor"),
    (SURVEY, result(pieces=[piece("7", 0)]), "no divisor"),
    (SURVEY, result(pieces=[piece("7", 2**62)]), "larger than the target"),
    (SURVEY, result(pieces=[piece(str(P))] * 3), "larger than the target"),
    (SURVEY, result(pieces=[piece(str(TARGET))]), "not proven"),
    (SURVEY, result(pieces=[piece(str(TARGET), certainty="probable")]), "not probable"),
    (SURVEY, result(pieces=[piece(str(P), certainty="composite")]), "not composite"),
    (SURVEY, result(pieces=[piece(str(P), certainty="certain")]), "Invalid enum"),
    (SURVEY, result(pieces=PIECES, cpu_seconds=-1.0), "CPU time"),
    (SURVEY, result(pieces=PIECES, cpu_seconds=float("inf")), "CPU time"),
    (SURVEY, result(pieces=PIECES, cpu_seconds=float("nan")), "CPU time"),
    (SURVEY, result(pieces=PIECES, curves=1), "curves"),
    (Curves(TARGET, Method.ECM, 11_000, 6, 20), result(curves=21), "curves"),
    (SURVEY, result(counted={"usable": 1, "needed": 2}), "nothing was to be counted"),
    (Solve(TARGET, {}), result(counted={"usable": -1, "needed": 2}), "below zero"),
    (SIEVE, result(pieces=PIECES), "finds no divisors"),
    (SURVEY, result(batch=[40, 10, b"relations"]), "not asked for"),
    (SIEVE, result(batch=[40, 10, b"relations"]), "not asked for"),
    (SIEVE, result(sieved={"indices": 10, "full": 1, "partial": 0}), "not asked for"),
    (
        SIEVE,
        result(sieved={"indices": 11, "full": 1, "partial": 0}, batch=[40, 11, b"relations"]),
        "more than was asked for",
    ),
    (
        SIEVE,
        result(sieved={"indices": 10, "full": 1, "partial": 0}, batch=[0, 10, b"relations"]),
        "of other polynomials",
    ),
    (
        SIEVE,
        result(sieved={"indices": 10, "full": 9, "partial": 1}, batch=[40, 10, b"relations"]),
        "not there",
    ),
]


@pytest.mark.parametrize(("work", "answer", "why"), WRONG, ids=[why for *_, why in WRONG])
def test_an_answer_that_cannot_be_true_is_not_believed(work: Work, answer: bytes, why: str) -> None:
    """Whatever it is: another type, too long, cut off, or about something else."""
    inbox = messages.Inbox()
    inbox.expect((work,))

    with pytest.raises(messages.NotBelieved, match=why):
        inbox.receive(answer)


async def test_an_answer_that_is_refused_costs_the_child_its_life(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The unit fails, and says why."""
    failed = await answer_of(monkeypatch, impostors.answering(result(pieces=[piece("7", 2**62)])))

    assert "larger than the target" in failed.failure.detail


async def test_an_endless_answer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if each message of it is a valid answer."""
    endless = impostors.answering(result(pieces=PIECES), then="repeat")
    slot = Slot(GENEROUS)
    monkeypatch.setattr(forkserver, "launch", endless)
    await slot.start()
    child = child_of(slot)
    with contextlib.suppress(
        UnitFailed
    ):  # unless the first answer is read before the second one comes
        await slot.compute(SURVEY)
    await waiting.until(lambda: is_dead(child), "the end of the child")
    await slot.close()


async def test_an_answer_that_breaks_off_is_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that hangs up is killed, if it lives."""
    half = result(pieces=PIECES)[:-5]
    failed = await answer_of(monkeypatch, impostors.answering(half, then="hang up"))

    assert failed.failure.fault is Fault.CRASH


async def test_an_answer_that_stops_half_way_runs_out_of_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As if the child were still computing."""
    half = result(pieces=PIECES)[:-5]
    failed = await answer_of(monkeypatch, impostors.answering(half), seconds=0.5)

    assert failed.failure.fault is Fault.TIMEOUT


async def test_a_child_cannot_charge_more_time_than_it_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The owner of the number pays for CPU time."""
    slot = Slot(GENEROUS)
    answer = result(pieces=PIECES, cpu_seconds=1e9)
    monkeypatch.setattr(forkserver, "launch", impostors.answering(answer))
    try:
        assert (await slot.compute(SURVEY)).cpu_seconds < 600
    finally:
        await slot.close()
