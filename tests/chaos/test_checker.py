"""The judge finds planted faults: one that never found any would prove nothing."""

from typing import Any

import pytest

from tests.chaos.checker import Journal, Told, judge

View = dict[str, Any]


def task(number: int, task_id: str = "t", **more: object) -> View:
    """Return a task that succeeded with 7 and the rest."""
    view: View = {
        "task_id": task_id,
        "number": str(number),
        "status": "succeeded",
        "done": True,
        "factors": [
            {"prime": "7", "exponent": 1},
            {"prime": str(number // 7), "exponent": 1},
        ],
        "composites": [],
        "version": 7,
        "ended_at": "2026-01-01T00:00:00Z",
    }
    return view | more


@pytest.fixture
def journal() -> Journal:
    """Return the journal of 77, accepted as t."""
    journal = Journal()
    attempt = journal.attempt(77)
    attempt.told, attempt.task_id = Told.ACCEPTED, "t"
    return journal


def test_a_correct_history_has_no_faults(journal: Journal) -> None:
    """There was one attempt, and there is one task with one end."""
    journal.saw(task(77))
    verdict = judge(journal, [task(77)])

    assert {} == verdict.faults
    assert (1, 0) == (verdict.accepted, verdict.recovered)


PLANTED: list[tuple[str, list[View]]] = [
    ("lost", []),
    ("lost", [task(77, status="running", done=False)]),
    ("lost", [task(77, "another")]),
    ("doubled", [task(77), task(77, "again")]),
    ("unexpected", [task(77), task(91, "stray")]),
    ("wrong", [task(77, factors=[{"prime": "7", "exponent": 2}])]),
    ("wrong", [task(77, status="failed")]),
    ("wrong", [task(77, factors=[], composites=[{"value": "77", "exponent": 1}])]),
]


@pytest.mark.parametrize(("kind", "drained"), PLANTED)
def test_planted_faults_are_found(journal: Journal, kind: str, drained: list[View]) -> None:
    """Losses, duplicates, strays and wrong answers each have a name."""
    assert [kind] == list(judge(journal, drained).faults)


@pytest.mark.parametrize(
    ("faults", "more"),
    [
        ([], {"version": 2}),
        (["wrong"], {"version": 3}),
        (["wrong"], {"version": 2, "factors": [{"prime": "7", "exponent": 1}]}),
        (["wrong"], {"version": 2, "status": "succeeded"}),
    ],
)
def test_only_a_number_that_was_never_begun_has_no_parts(
    faults: list[str], more: dict[str, object]
) -> None:
    """Such a task was cancelled while it waited; of every other number something is known."""
    journal = Journal()
    attempt = journal.attempt(77, expected={"succeeded", "cancelled"})
    attempt.told, attempt.task_id = Told.ACCEPTED, "t"
    view = task(77) | {"status": "cancelled", "factors": []} | more

    assert faults == list(judge(journal, [view]).faults)


def test_a_refused_number_must_not_exist(journal: Journal) -> None:
    """An answer of 4xx promises that no task was made."""
    journal.attempt(91).told = Told.REFUSED

    assert {} == judge(journal, [task(77)]).faults
    assert ["unexpected"] == list(judge(journal, [task(77), task(91, "u")]).faults)


def test_an_attempt_without_an_answer_may_or_may_not_exist(journal: Journal) -> None:
    """If its task exists, it has to be complete."""
    journal.attempt(91)

    assert ({}, 0) == ((verdict := judge(journal, [task(77)])).faults, verdict.recovered)
    both = [task(77), task(91, "u")]
    assert ({}, 1) == ((verdict := judge(journal, both)).faults, verdict.recovered)
    half = [task(77), task(91, "u", status="queued", done=False)]
    assert ["lost"] == list(judge(journal, half).faults)


@pytest.mark.parametrize(
    "later",
    [
        task(77, status="cancelled"),
        task(77, ended_at="2026-01-01T00:00:09Z"),
        task(77, status="running", done=False, ended_at=None),
    ],
)
def test_an_end_that_changes_is_found(journal: Journal, later: View) -> None:
    """It may not get another status or another time, or be worked on again."""
    journal.saw(task(77))

    assert "changed" in judge(journal, [later]).faults


def test_versions_that_go_back_and_ends_told_twice_are_found(journal: Journal) -> None:
    """Each subscription is judged by itself."""
    journal.versions["t", 1] = [1, 2, 2, 4]
    journal.versions["t", 2] = [2, 4]
    journal.dones["t", 1] = journal.dones["t", 2] = 1
    assert {} == judge(journal, [task(77)]).faults

    journal.versions["t", 2] = [2, 4, 3]
    journal.dones["t", 1] = 2
    assert 2 == len(judge(journal, [task(77)]).faults["backwards"])


def test_a_number_is_attempted_once(journal: Journal) -> None:
    """Otherwise a duplicate could not be told from a second request."""
    with pytest.raises(AssertionError):
        journal.attempt(77)
