"""The judge of the fault laboratory, in the manner of Jepsen's total-queue checker. Pure.

The journal says what clients attempted and what they were told; the drain says what the service holds
when everything is over. Between the two, every task is classified.
"""

import enum
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

View = Mapping[str, Any]
"""A task's representation."""

NEVER_BEGUN = 2
"""The version of a task that ended before there was a factorization of its number."""


class Told(enum.Enum):
    """What the client knows of an attempt."""

    ACCEPTED = enum.auto()
    """It was answered with a task id."""
    REFUSED = enum.auto()
    """It was answered with a 4xx: there must be no task."""
    UNKNOWN = enum.auto()
    """It was answered with a 5xx or not at all: there may be a task, and the number may be right."""


@dataclass
class Attempt:
    """One number that a client wanted factored. No two attempts are about the same number."""

    number: int
    told: Told = Told.UNKNOWN
    task_id: str | None = None
    expected: frozenset[str] = frozenset({"succeeded"})
    """Terminal statuses that are right for it."""
    tries: int = 0
    """Requests sent for it, all with the same idempotency key."""


@dataclass
class Journal:
    """What clients did and saw."""

    attempts: dict[int, Attempt] = field(default_factory=dict)
    """By number."""
    ends: dict[str, list[View]] = field(default_factory=dict)
    """Terminal representations by task id, as often as anybody was shown one."""
    versions: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    """Versions in the order in which one subscription to a task showed them."""
    dones: Counter[tuple[str, int]] = field(default_factory=Counter)
    """``done`` frames of each subscription."""

    def attempt(self, number: int, *, expected: Iterable[str] = ("succeeded",)) -> Attempt:
        """Note that a number is about to be submitted."""
        assert number not in self.attempts, f"{number} was asked for before"
        self.attempts[number] = Attempt(number, expected=frozenset(expected))
        return self.attempts[number]

    def saw(self, view: View) -> None:
        """Note a representation of a task that a client saw."""
        if view["done"]:
            self.ends.setdefault(view["task_id"], []).append(view)

    def with_told(self, told: Told) -> list[Attempt]:
        """Return the attempts that got this answer."""
        return [attempt for attempt in self.attempts.values() if attempt.told is told]


@dataclass(frozen=True)
class Verdict:
    """Every fault of the service that was found, in words, and what is fine but worth counting."""

    lost: tuple[str, ...] = ()
    """Accepted, and not there or without an end."""
    doubled: tuple[str, ...] = ()
    """One attempt, several tasks."""
    unexpected: tuple[str, ...] = ()
    """There, though refused or never asked for."""
    wrong: tuple[str, ...] = ()
    """Ended with a status that is not right, or with factors that do not multiply to the number."""
    changed: tuple[str, ...] = ()
    """Two different ends of one task, or an end that was taken back."""
    backwards: tuple[str, ...] = ()
    """A subscriber was shown an older version, or not exactly one ``done``."""
    accepted: int = 0
    recovered: int = 0
    """Nobody knew whether they had been accepted, and they were."""

    @property
    def faults(self) -> dict[str, tuple[str, ...]]:
        """The faults of the service by their names; empty if there are none."""
        kinds = ("lost", "doubled", "unexpected", "wrong", "changed", "backwards")
        return {kind: found for kind in kinds if (found := getattr(self, kind))}


def judge(journal: Journal, drained: Sequence[View]) -> Verdict:
    """Classify everything that was attempted or found.

    Args:
        journal: What the clients did and saw.
        drained: Every task that the service holds when all is over.

    """
    held: dict[int, list[View]] = {}
    for view in drained:
        held.setdefault(int(view["number"]), []).append(view)
    accepted = journal.with_told(Told.ACCEPTED)
    unknown = journal.with_told(Told.UNKNOWN)
    return Verdict(
        lost=tuple(_lost(accepted, unknown, held)),
        doubled=tuple(
            f"{number}: {len(views)} tasks" for number, views in held.items() if len(views) > 1
        ),
        unexpected=tuple(_unexpected(journal, held)),
        wrong=tuple(_wrong(journal, drained)),
        changed=tuple(_changed(journal, drained)),
        backwards=tuple(_backwards(journal)),
        accepted=len(accepted),
        recovered=sum(attempt.number in held for attempt in unknown),
    )


def _lost(
    accepted: list[Attempt], unknown: list[Attempt], held: dict[int, list[View]]
) -> Iterator[str]:
    for attempt in accepted:
        views = held.get(attempt.number, [])
        if attempt.task_id not in {view["task_id"] for view in views}:
            yield f"{attempt.number}: task {attempt.task_id} has vanished"
    for attempt in (*accepted, *unknown):
        for view in held.get(attempt.number, []):
            if not view["done"]:
                yield f"{attempt.number}: task {view['task_id']} never ended, it is {view['status']}"


def _unexpected(journal: Journal, held: dict[int, list[View]]) -> Iterator[str]:
    for number in held:
        attempt = journal.attempts.get(number)
        if attempt is None:
            yield f"{number}: nobody asked for it"
        elif attempt.told is Told.REFUSED:
            yield f"{number}: it was refused"


def _wrong(journal: Journal, drained: Sequence[View]) -> Iterator[str]:
    for view in drained:
        number = int(view["number"])
        attempt = journal.attempts.get(number)
        if not view["done"] or attempt is None:
            continue
        if view["status"] not in attempt.expected:
            yield f"{number}: {view['status']}, because {view.get('reason')}"
        parts = [(int(part["prime"]), part["exponent"]) for part in view["factors"]]
        parts += [(int(part["value"]), part["exponent"]) for part in view["composites"]]
        waited = view["status"] == "cancelled" and view["version"] == NEVER_BEGUN
        if waited and not parts:
            continue
        if math.prod(value**exponent for value, exponent in parts) != number:
            yield f"{number}: its factors multiply to something else"
        if view["status"] == "succeeded" and view["composites"]:
            yield f"{number}: it succeeded with a composite left"


def _changed(journal: Journal, drained: Sequence[View]) -> Iterator[str]:
    now = {view["task_id"]: view for view in drained}
    for task_id, ends in journal.ends.items():
        shown = {(end["status"], end["ended_at"], end.get("reason")) for end in ends}
        if task_id in now:
            view = now[task_id]
            shown.add((view["status"], view["ended_at"], view.get("reason")))
        if len(shown) > 1:
            yield f"{task_id}: {sorted(map(str, shown))}"


def _backwards(journal: Journal) -> Iterator[str]:
    for (task_id, subscription), versions in journal.versions.items():
        if versions != sorted(versions):
            yield f"{task_id} in subscription {subscription}: {versions}"
    for (task_id, subscription), count in journal.dones.items():
        if count != 1:
            yield f"{task_id} in subscription {subscription}: {count} times done"
