"""A factorization: all that is known about one number, shared by every task that asks for it.

It is a value. Whoever changes it makes a new one with the next version and swaps it into the store;
what to do next is decided by the worker's plan.
"""

import math
from collections.abc import Iterable

import msgspec

from common.domain.codec import BigInt, Versioned, shortened
from common.domain.events import digest_of
from common.domain.tasks import Ending, Status
from common.domain.units import Certainty, Curves, Fault, Method, Survey, Unit, Work


class Effort(msgspec.Struct, frozen=True):
    """Curves that ran on a composite or on a multiple of it, by method and stage-1 bound."""

    curves: dict[str, int] = {}
    next_sigma: int = 6
    """The first sigma that no issued unit has used (below 6 GMP-ECM has no curves)."""

    def done(self, method: Method, b1: int) -> int:
        """Return how many runs of a method with this bound are done."""
        return self.curves.get(_effort_key(method, b1), 0)

    def credit(self, work: Curves, count: int) -> "Effort":
        """Return the effort after ``count`` of the runs of a batch."""
        done = self.done(work.method, work.b1) + count
        return Effort(
            curves={**self.curves, _effort_key(work.method, work.b1): done},
            next_sigma=max(self.next_sigma, work.next_sigma),
        )


def _effort_key(method: Method, b1: int) -> str:
    return f"{method} B1={b1}"


class CurveState(msgspec.Struct, frozen=True):
    """How far the curves on one composite are, in the plan's own measure."""

    done: int
    wanted: int
    ruled_out_digits: int
    """Factors of up to so many digits were looked for with all curves that the size asks for."""


class SieveState(msgspec.Struct, frozen=True, kw_only=True):
    """The sieve of one composite: what was issued, what came back, what is still to be expected."""

    parameters: dict[str, int]
    next_index: int = 0
    """The first leading coefficient that no unit has been issued for."""
    indices: int = 0
    """Leading coefficients that were sieved to the end."""
    full: int = 0
    partial: int = 0
    usable: int = 0
    """Full relations and cycles of partial ones, estimated from the counts."""
    needed: int
    expected_indices: int = 0
    """Leading coefficients that the whole sieve is expected to take."""
    trust: float = 1.0
    """What a solve unit really counted over what had been estimated: it corrects the estimate."""
    cpu_seconds: float = 0.0
    marks: tuple[tuple[float, int, int], ...] = ()
    """(time, indices, relations) now and then during the last minute, for the rates."""


class Solving(msgspec.Struct, frozen=True):
    """How far a solve unit is."""

    stage: str
    rows: int
    done: int
    of: int


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A divisor of the number, with what is known and what was spent on it."""

    value: BigInt
    exponent: int = 1
    certainty: Certainty = Certainty.UNKNOWN
    effort: Effort = Effort()
    gave_up: dict[str, str] = {}
    """Kinds of unit that ran out of their fault budget on this part, each with its reason."""
    curves: CurveState | None = None
    """None before the plan has looked, and for what gets no curves."""
    sieve: SieveState | None = None
    """None before the sieve has begun, and for what is not composite."""

    @property
    def digits(self) -> int:
        """The number of decimal digits of the value."""
        return len(str(int(self.value)))


class Outstanding(msgspec.Struct, frozen=True, kw_only=True):
    """A unit that was issued and has not been settled. ``issued_at`` in seconds since the epoch."""

    unit: Unit
    issued_at: float
    faults: dict[Fault, int] = {}
    solving: Solving | None = None


class Factorization(Versioned, frozen=True, kw_only=True):
    """All that is known about one number ≥ 2.

    Invariant: the product of ``part.value ** part.exponent`` is the number, and the parts are
    pairwise coprime.
    """

    number: BigInt
    version: int = 1
    round: int = 1
    """Counts the times that work began anew after a failure."""
    created_at: float
    touched_at: float
    parts: tuple[Part, ...]
    outstanding: dict[str, Outstanding] = {}  # noqa: RUF012 msgspec copies an empty default
    outbox: tuple[str, ...] = ()
    """Ids of outstanding units that may not have been published yet."""
    issued: int = 0
    """Units issued so far; it makes the next unit's id."""
    wanted: bool = True
    """Whether a live task asks for the number; unwanted ones rest with nothing outstanding."""
    cpu_seconds: float = 0.0
    workers: dict[str, float] = {}  # noqa: RUF012 msgspec copies an empty default
    """Workers that settled a unit of it lately, and when."""
    slowness: float = 1.0
    """Of the machine that settled the last unit, see `common.domain.units.Outcome`: it scales estimates."""
    ended: Ending | None = None

    @property
    def active(self) -> bool:
        """Whether work should be going on."""
        return self.wanted and self.ended is None

    @property
    def complete(self) -> bool:
        """Whether every part is a prime."""
        return all(part.certainty.prime for part in self.parts)

    def check(self) -> None:
        """Raise ArithmeticError unless the invariant holds."""
        if math.prod(part.value**part.exponent for part in self.parts) != self.number:
            message = f"the parts of {shortened(self.number)} do not multiply to it"
            raise ArithmeticError(message)

    def with_issued(self, works: Iterable[Work], now: float) -> "Factorization":
        """Return the factorization with a new outstanding unit, in the outbox, for each work."""
        outstanding, outbox, issued = dict(self.outstanding), list(self.outbox), self.issued
        for work in works:
            issued += 1
            unit = Unit(unit_id=f"{digest_of(self.number)}-{issued}", number=self.number, work=work)
            outstanding[unit.unit_id] = Outstanding(unit=unit, issued_at=now)
            outbox.append(unit.unit_id)
        return msgspec.structs.replace(
            self, outstanding=outstanding, outbox=tuple(outbox), issued=issued
        )

    def units_in_outbox(self, *, left_before: float = math.inf) -> list[Unit]:
        """Return the units to publish: those that this version issued, and those that were left behind.

        The others were issued by an earlier version, and whoever wrote that is about to publish them:
        a unit that is published twice is computed twice. If they are still there although they were
        issued before `left_before`, in seconds since the epoch, nobody is.
        """
        entries = [self.outstanding[unit_id] for unit_id in self.outbox]
        return [
            entry.unit
            for entry in entries
            if entry.issued_at == self.touched_at or entry.issued_at < left_before
        ]

    @property
    def carried(self) -> tuple[str, ...]:
        """The part of the outbox that this version took over from the one before."""
        return tuple(
            unit_id
            for unit_id in self.outbox
            if self.outstanding[unit_id].issued_at != self.touched_at
        )

    def resumed(self, now: float) -> "Factorization":
        """Return the next version, wanted again, beginning a new round if the last one failed.

        Work restarts with one survey: cheap, and the plan goes on from whatever is known.
        """
        parts = tuple(msgspec.structs.replace(part, gave_up={}) for part in self.parts)
        fresh = msgspec.structs.replace(
            self,
            version=self.version + 1,
            round=self.round + (self.ended is not None),
            touched_at=now,
            parts=parts,
            outstanding={},
            outbox=(),
            wanted=True,
            ended=None,
        )
        unfinished = next(part for part in parts if part.certainty is not Certainty.PROVEN)
        return fresh.with_issued([Survey(unfinished.value)], now)

    def rested(self, now: float) -> "Factorization":
        """Return the next version with nothing outstanding, because nobody wants it now."""
        return msgspec.structs.replace(
            self, version=self.version + 1, touched_at=now, outstanding={}, outbox=(), wanted=False
        )

    def unfinished(self, value: int) -> bool:
        """Whether a divisor is still a part that is not known to be prime."""
        return any(part.value == value and not part.certainty.prime for part in self.parts)

    def touched(self, now: float) -> "Factorization":
        """Return the next version with nothing else changed."""
        return msgspec.structs.replace(self, version=self.version + 1, touched_at=now)

    @property
    def may_resume(self) -> bool:
        """Whether asking again starts work again: after a fault, not after the full effort."""
        return (
            self.ended is not None
            and any(part.gave_up for part in self.parts)
            and (self.ended.status is not Status.SUCCEEDED)
        )


def begin(number: int, now: float) -> Factorization:
    """Return the first version for a number ≥ 2: one unknown part and a survey of it to publish."""
    key = BigInt(number)
    blank = Factorization(number=key, created_at=now, touched_at=now, parts=(Part(value=key),))
    return blank.with_issued([Survey(key)], now)
