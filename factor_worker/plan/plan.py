"""The plan: what an outcome means for a factorization, and which units come next. Pure.

    settle(factorization, outcome, capacity, now)  →  the next version, or the same object if nothing changed

Theory of operation. A factorization is a set of parts whose product is the number. Each part goes through
the same stages, and a part that a unit has taken to pieces is replaced by these, which go on from there:

    unknown    → a survey: trial division, perfect powers, algebraic factors, primality
    probable   → a proof of primality, up to `policy.PROOF_LIMIT_DIGITS`
    composite  → up to 59 digits:   one unit that factors it completely
                 up to 100 digits:  P-1, P+1 and curves for factors of up to 0.3 of its digits; then sieve
                                    units until there are enough relations; then a solve unit
                 larger:            P-1, P+1 and curves for factors of up to 35 digits; after them it is
                                    left as it is, and the number ends `partial`
    proven     → nothing

`settle` does three things. It refuses an outcome that cannot be true, and counts it as a fault of its unit:
a unit whose faults have used up their budget is given up on. It learns from any other outcome: pieces,
curves done, relations counted. Then it advances: units that have become unnecessary are dropped, and new ones
are issued, so that the number has one unit more outstanding than its share of the slots, and no slot
waits for the plan. If nothing is outstanding then, the number has ended. (If everybody who wants it has used
up the CPU seconds of the day, nothing is issued, and it rests until the day is over: `rests_until`.)

What a survey leaves is compared with other numbers first (`shared`): a common divisor costs nothing.

How many curves and how many attempts is decided in `policy`, the size of a sieve unit in `sieve`, the size of
a batch of curves in `factor_worker.engine.curves.effort`.

The next version says itself what has to be done about it: units to publish are in its outbox, and an
ending is in `ended`. `factor_worker.settlement` stores it and acts on it.
"""

import itertools
import math
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from common.domain import (
    Certainty,
    Curves,
    CurveState,
    Ending,
    Factorization,
    Failure,
    Fault,
    Method,
    Outcome,
    Outstanding,
    Part,
    Piece,
    Prove,
    Sieve,
    SieveState,
    Solve,
    Solving,
    Status,
    Survey,
    Unit,
    Whole,
    Work,
)
from factor_worker.engine.curves import effort
from factor_worker.plan import policy, shared, sieve

SPARE_SHARE = 8
"""One unit in so many is there for slots whose last outcome waits to be settled along with others."""
SMALL_CLUSTER = 8
"""Up to so many slots, sieve units are as small as if all of the slots worked on each number: a slot is soon
free for a new number then."""
WORKERS_SECONDS = 60.0
"""A worker that has settled a unit within this time counts as working on the number."""


class Capacity(NamedTuple):
    """What there is to compute with."""

    slots: int = 1
    """Units that all live workers together compute at a time."""
    numbers: int = 1
    """Numbers that share these."""
    sieve_digits: int = policy.SIEVE_LIMIT_DIGITS
    """The largest composite that is sieved, in decimal digits."""
    rests_until: float | None = None
    """If everybody who wants the number has used up the CPU seconds of the day: when that is over, in seconds
    since the epoch. Then nothing is issued."""

    @property
    def share(self) -> int:
        """Slots for each number, so that no number's units queue up in front of those of the others."""
        return math.ceil(self.slots / self.numbers)

    @property
    def unit_slots(self) -> int:
        """Slots among which what is left of a sieve is divided, to find the size of a unit."""
        return max(self.share, min(self.slots, SMALL_CLUSTER))


def settle(
    known: Factorization,
    *outcomes: Outcome,
    capacity: Capacity,
    now: float,
    others: Collection[int] = (),
) -> Factorization:
    """Return the next version after some outcomes, or the very same object if they change nothing.

    Args:
        known: The version in the store.
        outcomes: What workers report about units; each is ignored unless its unit is outstanding.
        capacity: What there is to compute with.
        now: Seconds since the epoch.
        others: Numbers that the composites are compared with, because they may have factors in common.

    """
    settled = known
    for outcome in outcomes:
        settled = _settle_one(settled, outcome, now)
    if settled is known:
        return known
    settled = _without_unneeded(shared.divided(settled, others))
    return advance(settled, capacity=capacity, now=now)


def divide(
    known: Factorization, by: Factorization, *, capacity: Capacity, now: float
) -> Factorization:
    """Return the next version, split by what it shares with another number; the same object if it is not.

    Args:
        known: The version in the store.
        by: Another number, whose composites may divide those of this one.
        capacity: What there is to compute with.
        now: Seconds since the epoch.

    """
    divided = shared.divided(known, [part.value for part in by.parts])
    if divided is known:
        return known
    return advance(_without_unneeded(divided), capacity=capacity, now=now)


def _settle_one(known: Factorization, outcome: Outcome, now: float) -> Factorization:
    entry = known.outstanding.get(outcome.unit_id)
    if entry is None:
        return known
    failure = outcome.failure or _refusal(entry.unit, outcome)
    if failure is not None:
        settled = _after_failure(known, entry, failure, now)
    else:
        settled = _without(known, {outcome.unit_id})
        parts = tuple(_learn(known.parts, entry.unit.work, outcome, now))
        settled = replace(settled, parts=parts)
    lately = {who: at for who, at in known.workers.items() if now - at < WORKERS_SECONDS}
    settled = replace(
        settled,
        cpu_seconds=known.cpu_seconds + outcome.cpu_seconds,
        slowness=outcome.slowness,
        workers=lately | ({outcome.worker_id: now} if outcome.worker_id else {}),
    )
    return _without_unneeded(settled)


def take_in(
    known: Factorization, other: Factorization, *, capacity: Capacity, now: float
) -> Factorization:
    """Return the factorization with what became of a part that it waits for; the same object if nothing did.

    Args:
        known: The version in the store.
        other: The factorization of one of its parts: split, proven, or ended.
        capacity: What there is to compute with.
        now: Seconds since the epoch.

    """
    if other.number not in known.waits_for:
        return known
    own = other.own_part
    if own is not None and other.ended is None and own.certainty is not Certainty.PROVEN:
        return known
    parts: list[Part] = []
    for part in known.parts:
        if part.value != other.number:
            parts.append(part)
        elif own is None:
            parts += (
                replace(piece, exponent=part.exponent * piece.exponent) for piece in other.parts
            )
        else:
            parts.append(replace(own, exponent=part.exponent, left=_why_ended(other)))
    taken = replace(
        known,
        parts=tuple(parts),
        cpu_seconds=known.cpu_seconds + other.cpu_seconds,
        taken_in=known.taken_in + other.version,
    )
    return advance(taken, capacity=capacity, now=now)


def _why_ended(other: Factorization) -> str:
    reason = other.ended.reason if other.ended else None
    return reason or "its own factorization has ended"


def record_progress(
    known: Factorization, unit_id: str, solving: Solving, *, now: float
) -> Factorization:
    """Return the next version with a solve unit's progress; the same object if it is not outstanding."""
    entry = known.outstanding.get(unit_id)
    if entry is None:
        return known
    outstanding = {**known.outstanding, unit_id: replace(entry, solving=solving)}
    return replace(known.touched(now), outstanding=outstanding)


def advance(known: Factorization, *, capacity: Capacity, now: float) -> Factorization:
    """Return the next version with enough units outstanding to fill its slots, or with its ending.

    Raises:
        ArithmeticError: The parts do not multiply to the number.

    """
    known.check()
    issued = _with_works(known, capacity, now)
    going_on = issued.outstanding or issued.waits_for or issued.rests_until
    ended = None if going_on else _ending(issued.parts, now)
    return replace(issued, version=known.version + 1, touched_at=now, ended=ended)


def _with_works(known: Factorization, capacity: Capacity, now: float) -> Factorization:
    """Return the factorization with units outstanding for its own part, unless that is split or settled."""
    own = known.own_part
    if own is None:
        return replace(known, rests_until=None)
    # More units than it has slots, so that no slot waits for the plan.
    room = max(0, capacity.share + 1 + capacity.share // SPARE_SHARE - len(known.outstanding))
    pending = [entry.unit.work for entry in known.outstanding.values()]
    works = list(itertools.islice(_works_for(own, pending, capacity), room))
    if works and capacity.rests_until is not None:
        return replace(known, rests_until=capacity.rests_until)
    own = sieve.after_issue(_with_curves(own, capacity), works)
    return replace(known, parts=(own,), rests_until=None).with_issued(works, now)


def _refusal(unit: Unit, outcome: Outcome) -> Failure | None:
    """Return why an outcome cannot be true, or None: pieces must be coprime and multiply to the target."""
    pieces = outcome.pieces
    if not pieces:
        return _no_work(unit.work, outcome)
    if any(piece.value < 2 or piece.exponent < 1 for piece in pieces):  # noqa: PLR2004 1 is no piece
        return Failure(Fault.WRONG, "a piece is not a divisor")
    if math.prod(piece.value**piece.exponent for piece in pieces) != unit.work.target:
        return Failure(Fault.WRONG, "the pieces do not multiply to the target")
    if any(math.gcd(a.value, b.value) > 1 for a, b in itertools.combinations(pieces, 2)):
        return Failure(Fault.WRONG, "the pieces are not coprime")
    if isinstance(unit.work, Whole) and not all(piece.certainty.prime for piece in pieces):
        return Failure(Fault.WRONG, "it left a composite")
    return None


def _no_work(work: Work, outcome: Outcome) -> Failure | None:
    """Return what is wrong with an outcome without pieces: it must at least say that work was done."""
    match work:
        case Curves():
            nothing, what = outcome.curves == 0, "curve"
        case Sieve():
            nothing, what = outcome.sieved is None or outcome.sieved.indices == 0, "polynomial"
        case Solve():
            nothing, what = outcome.counted is None, "relation"
        case _:
            return Failure(Fault.WRONG, "it says nothing about its target")
    return Failure(Fault.TIMEOUT, f"not one {what} was finished") if nothing else None


def _learn(parts: Sequence[Part], work: Work, outcome: Outcome, now: float) -> Iterator[Part]:
    """Yield the parts with the target replaced by its pieces, each of which inherits its effort."""
    for part in parts:
        if part.value != work.target:
            yield part
            continue
        spent = part.effort
        if isinstance(work, Curves):
            spent = spent.credit(work, outcome.curves)
        for piece in outcome.pieces or (Piece(part.value, 1, part.certainty),):
            learnt = Part(
                value=piece.value,
                exponent=part.exponent * piece.exponent,
                certainty=piece.certainty,
                effort=spent,
            )
            if piece.value == part.value:
                learnt = replace(
                    learnt, gave_up=part.gave_up, sieve=_sieve_after(part, outcome, now)
                )
            yield _without_hope(learnt)


def _without_hope(part: Part) -> Part:
    """Return the part with its sieve given up if that leads nowhere: no number may be stuck for ever."""
    why = sieve.why_hopeless(part.sieve, part.digits) if part.sieve is not None else None
    return part if why is None else replace(part, gave_up={**part.gave_up, "sieve": why})


def _sieve_after(part: Part, outcome: Outcome, now: float) -> SieveState | None:
    """Return the state of a composite's sieve after an outcome that has not split it."""
    state = part.sieve
    if state is not None and outcome.sieved is not None:
        return sieve.after_sieve(state, outcome.sieved, outcome.cpu_seconds, now)
    if state is not None and outcome.counted is not None:
        return sieve.after_count(state, outcome.counted)
    return state


def _after_failure(
    known: Factorization, entry: Outstanding, failure: Failure, now: float
) -> Factorization:
    """Return the factorization with the unit issued again, or given up on if its budget is used up."""
    unit = entry.unit
    attempts = entry.faults.get(failure.fault, 0) + 1
    if attempts < policy.FAULT_BUDGET[failure.fault]:
        again = replace(entry, issued_at=now, faults={**entry.faults, failure.fault: attempts})
        outbox = (*known.outbox, *(() if unit.unit_id in known.outbox else (unit.unit_id,)))
        outstanding = {**known.outstanding, unit.unit_id: again}
        return replace(known, outstanding=outstanding, outbox=outbox)
    times = "once" if attempts == 1 else f"{attempts} times"
    reason = f"unit {unit.unit_id} ({unit.kind}) failed {times}: {failure.fault}, {failure.detail}"
    parts = tuple(
        replace(part, gave_up={**part.gave_up, unit.kind: reason})
        if part.value == unit.work.target
        else part
        for part in known.parts
    )
    dropped = {
        unit_id
        for unit_id, other in known.outstanding.items()
        if other.unit.work.target == unit.work.target and other.unit.kind == unit.kind
    }
    return _without(replace(known, parts=parts), dropped)


def _without(known: Factorization, unit_ids: set[str]) -> Factorization:
    outstanding = {key: unit for key, unit in known.outstanding.items() if key not in unit_ids}
    outbox = tuple(unit_id for unit_id in known.outbox if unit_id not in unit_ids)
    return replace(known, outstanding=outstanding, outbox=outbox)


def _without_unneeded(known: Factorization) -> Factorization:
    """Drop the units of a number that is split or settled by now, and sieving that is no longer needed."""
    own = known.own_part
    if own is None or _settled(own):
        return _without(known, {*known.outstanding})
    sieving = own.sieve is not None and own.sieve.usable < own.sieve.needed
    if own.sieve is None or (sieving and "sieve" not in own.gave_up):
        return known
    entries = known.outstanding.items()
    return _without(known, {key for key, entry in entries if isinstance(entry.unit.work, Sieve)})


def _settled(part: Part) -> bool:
    """Whether nothing more will be done about a part."""
    if part.certainty is Certainty.PROBABLE:
        return part.digits > policy.PROOF_LIMIT_DIGITS or "prove" in part.gave_up
    return part.certainty is Certainty.PROVEN


def _works_for(part: Part, pending: list[Work], capacity: Capacity) -> Iterator[Work]:
    if _settled(part):
        return
    if part.certainty is Certainty.COMPOSITE:
        yield from _works_for_composite(part, pending, capacity)
    elif not pending and part.certainty is Certainty.PROBABLE:
        yield Prove(part.value)
    elif not pending and "survey" not in part.gave_up:
        yield Survey(part.value)


def _works_for_composite(part: Part, pending: list[Work], capacity: Capacity) -> Iterator[Work]:
    curves = tuple(_curves(part, pending, capacity)) if "ecm" not in part.gave_up else ()
    yield from curves
    if curves:
        return
    if part.digits <= policy.WHOLE_LIMIT_DIGITS:
        if not pending and "whole" not in part.gave_up:
            yield Whole(part.value)
    elif part.digits <= capacity.sieve_digits and not part.gave_up.keys() & {"sieve", "solve"}:
        yield from sieve.works(part, pending, capacity.unit_slots)


def _curves(part: Part, pending: list[Work], capacity: Capacity) -> Iterator[Curves]:
    """Yield the batches of curves that a composite still needs and that are not outstanding."""
    levels = policy.levels_for(part.digits, sieve_digits=capacity.sieve_digits)
    under_way = [work for work in pending if isinstance(work, Curves)]
    runs = [(method, b1, 1) for method, b1 in policy.FIRST_RUNS if levels]
    runs += [(Method.ECM, level.b1, level.curves) for level in levels]
    sigma = max([part.effort.next_sigma, *(work.next_sigma for work in under_way)])
    for method, b1, wanted in runs:
        issued = sum(work.count for work in under_way if (work.method, work.b1) == (method, b1))
        missing = wanted - part.effort.done(method, b1) - issued
        while missing > 0:
            count = min(missing, effort.curves_per_unit(part.digits, b1))
            yield Curves(part.value, method, b1, sigma, count)
            missing -= count
            sigma += count


def _with_curves(part: Part, capacity: Capacity) -> Part:
    """Return the part with the progress of its curves, for people to read."""
    levels = policy.levels_for(part.digits, sieve_digits=capacity.sieve_digits)
    if part.certainty is not Certainty.COMPOSITE or not levels:
        return part
    done = [part.effort.done(Method.ECM, level.b1) for level in levels]
    finished = [
        level.digits for level, count in zip(levels, done, strict=True) if count >= level.curves
    ]
    wanted = sum(level.curves for level in levels)
    return replace(part, curves=CurveState(sum(done), wanted, max(finished, default=0)))


def _ending(parts: Sequence[Part], now: float) -> Ending | None:
    """Return the ending of a factorization for which nothing is left to do."""
    left = [part for part in parts if not part.certainty.prime]
    if not left:
        return Ending(status=Status.SUCCEEDED, at=now)
    reasons = [_why_left(part) for part in left]
    gave_up = any(part.gave_up for part in left)
    status = Status.FAILED if gave_up and len(parts) == 1 else Status.PARTIAL
    return Ending(status=status, at=now, reason="; ".join(reasons))


def _why_left(part: Part) -> str:
    if part.left is not None:
        return part.left
    if part.gave_up:
        return "; ".join(part.gave_up.values())
    limit = policy.LEVELS[-1]
    return (
        f"a composite of {part.digits} digits is left: no factor of up to about "
        f"{limit.digits} digits was found with curves up to B1={limit.b1}, which is the limit of effort"
    )
