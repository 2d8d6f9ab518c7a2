"""A factorization: everything known about one number, shared by every task that asks for it.

It is an immutable value. To change it, make a new one with the next version and swap it into the store.
What to do next is decided by the worker's plan.

A composite that is split off from a number is a factorization of its own, keyed by its value, and shared by
all numbers that contain it (docs/adr/0012). So 3·C and 5·C wait for C, which has the curves, the sieve,
the units and the relations; each of them takes in what C turns out to be.
"""

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import msgspec

from common import errors
from common.domain.codec import BigInt, Versioned, key_of, shortened
from common.domain.events import digest_of
from common.domain.tasks import Ending, Status
from common.domain.units import Certainty, Curves, Fault, Method, Sieve, Survey, Unit, Work


class Effort(msgspec.Struct, frozen=True):
    """How many curves have run on a composite or on a multiple of it, by method and stage-1 bound."""

    curves: dict[str, int] = {}
    next_sigma: int = 6
    """The first sigma that no issued unit uses (GMP-ECM has no curves below 6)."""

    def done(self, method: Method, b1: int) -> int:
        """Return how many runs of a method with this bound have ended."""
        return self.curves.get(_effort_key(method, b1), 0)

    def credit(self, work: Curves, count: int) -> "Effort":
        """Return the effort after ``count`` of the runs in a batch."""
        done = self.done(work.method, work.b1) + count
        return Effort(
            curves={**self.curves, _effort_key(work.method, work.b1): done},
            next_sigma=max(self.next_sigma, work.next_sigma),
        )


def _effort_key(method: Method, b1: int) -> str:
    return f"{method} B1={b1}"


class CurveState(msgspec.Struct, frozen=True):
    """Progress of the curves on one composite: how many have run of how many the plan wants."""

    done: int
    wanted: int
    ruled_out_digits: int
    """All curves that finding factors of this many digits calls for have run."""


class SieveState(msgspec.Struct, frozen=True, kw_only=True):
    """The sieve of one composite: what was issued, what came back, and how much is still needed."""

    parameters: dict[str, int]
    next_index: int = 0
    """The index of the first leading coefficient that no unit was issued for."""
    indices: int = 0
    """Leading coefficients that were sieved completely."""
    full: int = 0
    partial: int = 0
    usable: int = 0
    """Full relations, and cycles among partial ones, estimated from their counts."""
    needed: int
    expected_indices: int = 0
    """Leading coefficients that the whole sieve is expected to need."""
    trust: float = 1.0
    """What a solve unit counted, divided by what had been estimated: it corrects later estimates."""
    forecast_indices: int = 0
    """What `expected_indices` was when the first forecast that is worth something was made; 0 before."""
    restarts: int = 0
    """How often the sieve began anew because its relations were lost."""
    cpu_seconds: float = 0.0
    marks: tuple[tuple[float, int, int], ...] = ()
    """(time, indices, relations), sampled during the last minute, for the rates."""


class Solving(msgspec.Struct, frozen=True):
    """Progress of a solve unit: its stage, the rows of the matrix, and ``done`` steps ``of`` so many."""

    stage: str
    rows: int
    done: int
    of: int


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A divisor of the number, with what is known about it and the effort spent on it."""

    value: BigInt
    exponent: int = 1
    certainty: Certainty = Certainty.UNKNOWN
    effort: Effort = Effort()
    gave_up: dict[str, str] = {}
    """Kinds of unit that used up their fault budget on this part, each with the reason."""
    left: str | None = None
    """Why a part with a factorization of its own stays as it is: that one has ended. None until then."""
    curves: CurveState | None = None
    """None until the plan has looked at the part, and for parts that get no curves."""
    sieve: SieveState | None = None
    """None until the sieve has begun, and for parts that are not composite."""

    @property
    def digits(self) -> int:
        """How many decimal digits the value has."""
        return len(str(int(self.value)))


class Outstanding(msgspec.Struct, frozen=True, kw_only=True):
    """A unit that was issued and is not settled. ``issued_at`` is in seconds since the epoch."""

    unit: Unit
    issued_at: float
    faults: dict[Fault, int] = {}
    solving: Solving | None = None


PACKED_UNITS = 32
"""With more units outstanding than this a factorization is stored packed (`Factorization.encode`)."""


class PackedUnits(msgspec.Struct, frozen=True):
    """Sieve units that were issued together: what differs between them."""

    issued_at: float
    units: list[tuple[int, int, int]]
    """(serial number, first leading coefficient, count)."""


class Factorization(Versioned, frozen=True, kw_only=True):
    """Everything known about one number ≥ 2.

    Invariant: the product of ``part.value ** part.exponent`` is the number, and the parts are
    pairwise coprime.
    """

    VERSIONS: ClassVar[tuple[int, ...]] = (1, 2)
    """2: sieve units are packed. It is written only by clusters of many slots."""

    number: BigInt
    version: int = 1
    round: int = 1
    """Counts how often work began: 1, and one more for each time it was resumed after a failure."""
    created_at: float
    touched_at: float
    parts: tuple[Part, ...]
    outstanding: dict[str, Outstanding] = {}  # noqa: RUF012 msgspec copies an empty default
    outbox: tuple[str, ...] = ()
    """Ids of outstanding units that may not have been published yet."""
    issued: int = 0
    """Units issued so far; the next unit's id is made from it."""
    wanted: bool = True
    """Whether a live task asks for the number, or another number waits for it. An unwanted factorization
    rests: nothing is outstanding."""
    taken_in: int = 0
    """The versions of the factorizations that were taken in, all together: a part of what clients see as
    the version, which must not fall when a factorization is no longer waited for."""
    cpu_seconds: float = 0.0
    """Of its own units, and of the factorizations that it has taken in."""
    workers: dict[str, float] = {}  # noqa: RUF012 msgspec copies an empty default
    """The workers that settled a unit of it lately, and when each last did."""
    slowness: float = 1.0
    """Of the machine that computed the last settled unit (`Outcome.slowness`); it scales estimates."""
    ended: Ending | None = None
    rests_until: float | None = None
    """If everybody who wants it has used up the CPU seconds of the day: when it goes on. Until then nothing
    is issued."""
    packed: tuple[PackedUnits, ...] = ()
    """Only in what is stored: the sieve units of `outstanding`."""

    def encode(self) -> bytes:
        """Return the value as UTF-8 JSON.

        With many slots most of a document would be outstanding sieve units that differ in a few numbers.
        So these are packed; whatever reads the value unpacks them.
        """
        return super(Factorization, self._packed()).encode()

    def to_document(self) -> dict[str, Any]:
        """Return the value as plain dicts, lists and strings, packed as `encode` does."""
        return super(Factorization, self._packed()).to_document()

    @classmethod
    def decode(cls, data: bytes | str) -> "Factorization":
        """Read what `encode` wrote."""
        return super().decode(data)._unpacked()  # noqa: SLF001 our own

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "Factorization":
        """Read what `to_document` wrote."""
        return super().from_document(document)._unpacked()  # noqa: SLF001 our own

    def _packed(self) -> "Factorization":
        own = self.own_part
        if len(self.outstanding) <= PACKED_UNITS or own is None or own.sieve is None:
            return self
        prefix = f"{digest_of(self.number)}-"
        together: dict[float, list[tuple[int, int, int]]] = {}
        others: dict[str, Outstanding] = {}
        for unit_id, entry in self.outstanding.items():
            work = entry.unit.work
            if (
                isinstance(work, Sieve)
                and work.parameters == own.sieve.parameters
                and not entry.faults
                and unit_id.startswith(prefix)
            ):
                unit = (int(unit_id.removeprefix(prefix)), work.first, work.count)
                together.setdefault(entry.issued_at, []).append(unit)
            else:
                others[unit_id] = entry
        packed = tuple(PackedUnits(at, units) for at, units in together.items())
        return msgspec.structs.replace(self, v=2, outstanding=others, packed=packed)

    def _unpacked(self) -> "Factorization":
        if not self.packed:
            return self
        own = self.own_part
        if own is None or own.sieve is None:
            raise errors.Malformed(what="Factorization", why="it has sieve units and no sieve")
        prefix, outstanding = f"{digest_of(self.number)}-", dict(self.outstanding)
        for group in self.packed:
            for serial, first, count in group.units:
                work = Sieve(self.number, own.sieve.parameters, first, count)
                unit = Unit(unit_id=f"{prefix}{serial}", number=self.number, work=work)
                entry = Outstanding(unit=unit, issued_at=group.issued_at)
                outstanding[unit.unit_id] = entry
        return msgspec.structs.replace(self, v=1, outstanding=outstanding, packed=())

    @property
    def active(self) -> bool:
        """Whether it should be worked on."""
        return self.wanted and self.ended is None

    @property
    def own_part(self) -> Part | None:
        """The number itself as its only part, which its units work on until it is split; None after that."""
        first = self.parts[0]
        return first if first.value == self.number else None

    @property
    def waits_for(self) -> tuple[BigInt, ...]:
        """The parts whose own factorizations are to be taken in: composites, and primes without a proof."""
        if not self.active:
            return ()
        return tuple(
            part.value
            for part in self.parts
            if part.value != self.number
            and part.certainty is not Certainty.PROVEN
            and part.left is None
        )

    @property
    def complete(self) -> bool:
        """Whether every part is a prime."""
        return all(part.certainty.prime for part in self.parts)

    def check(self) -> None:
        """Raise ArithmeticError unless the invariant holds."""
        if math.prod(part.value**part.exponent for part in self.parts) != self.number:
            raise ArithmeticError(f"the parts of {shortened(self.number)} do not multiply to it")

    def with_issued(self, works: Iterable[Work], now: float) -> "Factorization":
        """Return the factorization with a new outstanding unit in the outbox for each piece of work."""
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

        The others were issued by an earlier version, and whoever wrote that version is about to publish
        them; a unit that is published twice is computed twice. Units that are still in the outbox although
        they were issued before `left_before` (seconds since the epoch) count as left behind.
        """
        entries = [self.outstanding[unit_id] for unit_id in self.outbox]
        return [
            entry.unit
            for entry in entries
            if entry.issued_at == self.touched_at or entry.issued_at < left_before
        ]

    @property
    def carried(self) -> tuple[str, ...]:
        """Ids in the outbox that this version took over from the one before."""
        return tuple(
            unit_id
            for unit_id in self.outbox
            if self.outstanding[unit_id].issued_at != self.touched_at
        )

    def resumed(self, now: float) -> "Factorization":
        """Return the next version, wanted again; it begins a new round if the last one has ended.

        Work restarts with a survey, which is cheap, and the plan goes on from whatever is known. A number
        that is split has no work of its own: it waits for its composite parts.
        """
        parts = tuple(msgspec.structs.replace(part, gave_up={}, left=None) for part in self.parts)
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
            rests_until=None,
        )
        return fresh.with_issued([Survey(self.number)] if self.own_part else [], now)

    def rested(self, now: float) -> "Factorization":
        """Return the next version at rest: nobody wants the number now, so nothing is outstanding."""
        return msgspec.structs.replace(
            self,
            version=self.version + 1,
            touched_at=now,
            outstanding={},
            outbox=(),
            wanted=False,
            rests_until=None,
        )

    def claimed(self, now: float, *, resume: bool) -> "Factorization":
        """Return the next version for somebody who begins to want it; the same object if it stays ended.

        The next version differs even if nothing changes, so that the swap of whoever is about to rest it
        fails. ``resume`` says whether work that ended because of faults is to begin again.
        """
        if self.ended is not None and not (resume and self.may_resume):
            return self
        return self.touched(now) if self.active else self.resumed(now)

    def shown_with(self, awaited: Iterable["Factorization"]) -> "Factorization":
        """Return what people are shown while this number waits: its parts' work and cost are its own.

        The result is only for that; it is not a version of this factorization.

        Args:
            awaited: The factorizations that it waits for, as far as they exist.

        """
        shown, by_number = self, {key_of(each.number): each for each in awaited}
        for part in self.parts:
            if other := by_number.get(key_of(part.value)):
                shown = shown._shown_with(part, other)
        return shown

    def _shown_with(self, awaited: Part, other: "Factorization") -> "Factorization":
        pieces = [
            msgspec.structs.replace(piece, exponent=awaited.exponent * piece.exponent)
            for piece in other.parts
        ]
        kept = [part for part in self.parts if part.value != awaited.value]
        return msgspec.structs.replace(
            self,
            version=self.version + other.version,
            touched_at=max(self.touched_at, other.touched_at),
            parts=(*kept, *pieces),
            outstanding={**self.outstanding, **other.outstanding},
            issued=self.issued + other.issued,
            cpu_seconds=self.cpu_seconds + other.cpu_seconds,
            workers={**self.workers, **other.workers},
            slowness=other.slowness,
            rests_until=self.rests_until or other.rests_until,
        )

    def touched(self, now: float) -> "Factorization":
        """Return the next version, otherwise unchanged."""
        return msgspec.structs.replace(self, version=self.version + 1, touched_at=now)

    def without_sieve(self, now: float) -> "Factorization":
        """Return the next version for which nothing was sieved yet: its relations are about to be deleted."""
        parts = tuple(msgspec.structs.replace(part, sieve=None) for part in self.parts)
        return msgspec.structs.replace(self.touched(now), parts=parts)

    @property
    def may_resume(self) -> bool:
        """Whether a new task restarts the work: it ended because of faults, not after the full effort."""
        return (
            self.ended is not None
            and any(part.gave_up for part in self.parts)
            and (self.ended.status is not Status.SUCCEEDED)
        )


def begin(number: int, now: float, *, part: Part | None = None) -> Factorization:
    """Return the first version for a number ≥ 2, with a survey of it in the outbox.

    Args:
        number: What to factor.
        now: Seconds since the epoch.
        part: What another number that contains this one knows of it: its effort is not repeated.

    """
    key = BigInt(number)
    parts = (Part(value=key) if part is None else msgspec.structs.replace(part, exponent=1),)
    blank = Factorization(number=key, created_at=now, touched_at=now, parts=parts)
    return blank.with_issued([Survey(key)], now)
