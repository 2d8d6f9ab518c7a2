"""The plan for the quadratic sieve: how large the next sieve units are, and when to solve. Pure.

Polynomials are numbered by their leading coefficients, and a sieve unit is a range of these: `first` …
`first + count - 1`. Its size is decided in `_unit_size`. Units are issued until as many leading
coefficients are under way as the forecast says are missing; once there seem to be enough relations, one
solve unit is issued, and if it finds too few, it corrects the forecast and sieving goes on.
"""

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from common.domain import Counted, Part, Sieve, Sieved, SieveState, Solve, Work, estimates
from factor_worker.engine.siqs import forecast
from factor_worker.engine.siqs.polynomials import parameters as siqs

UNIT_SECONDS = (1.0, 10.0)
"""Shortest and longest CPU time that a sieve unit is meant to take."""
FIRST_SECONDS = 0.5
"""Size of the first units, which only show what polynomials cost and yield here."""
SHARE = 5
"""A unit is about a fifth of what its slot still has to do, so that all slots end together."""
LAST_SHARE = 2
"""Once a fifth would be less than the shortest unit, it is half of that, but at least `LAST_SECONDS`."""
LAST_SECONDS = 0.25
"""Each unit costs some hundredths of a second besides its work, so smaller ones gain nothing."""
OCCURRING = 0.98
"""Share of the factor base's primes that occur in relations. The others need no relation."""
GROWTH_LIMIT = 1000.0
"""No forecast reaches further than this many times the work done."""
ENOUGH = 1.01
"""A forecast is corrected to a little more than what a solve unit reported as needed."""
LOST_SHARE = 0.2
"""If a solve unit counts less than this share of what is needed, the sieve begins anew."""
RESTARTS = 3
"""How often it may do so."""
OVERRUN = 5
"""A sieve that has tried this many times the leading coefficients of its forecast is given up."""
FORECAST_SHARE = 0.05
"""The share of the relations needed from which a forecast is good enough to be held to."""
MARKS_SECONDS = (5.0, 60.0)
"""Time between two marks, and how long they are kept: rates are those of the last minute."""


def begin(part: Part) -> SieveState:
    """Return the state of a sieve that has not begun."""
    chosen = siqs.choose(int(part.value))
    return SieveState(parameters=chosen.to_dict(), needed=round(OCCURRING * chosen.size))


def works(part: Part, pending: Sequence[Work], slots: int) -> Iterator[Work]:
    """Yield the units that a composite needs next: a solve unit, or sieve units up to what is missing.

    Whatever is still under way when there are enough relations is thrown away. So no slot gets a unit
    beyond what is missing, which would cost a second of each.

    Args:
        part: The composite.
        pending: Its outstanding units.
        slots: How many units of it are computed at a time.

    """
    state = part.sieve or begin(part)
    if any(isinstance(work, Solve) for work in pending):
        return
    if state.usable >= state.needed:
        yield Solve(part.value, state.parameters)
        return
    under_way = sum(work.count for work in pending if isinstance(work, Sieve))
    first = state.next_index
    left = max(0, state.expected_indices - state.indices)
    while True:
        if state.indices and under_way >= max(left, 1):
            return
        count = _unit_size(state, under_way, slots)
        yield Sieve(part.value, state.parameters, first, count)
        first += count
        under_way += count


def _unit_size(state: SieveState, under_way: int, slots: int) -> int:
    """Return the size of the next sieve unit, in leading coefficients."""
    seconds_each = seconds_per_index(state)
    left = max(0, state.expected_indices - state.indices - under_way) * seconds_each
    shortest, longest = UNIT_SECONDS
    left_a_slot = left / slots
    least = min(shortest, max(left_a_slot / LAST_SHARE, LAST_SECONDS))
    seconds = (
        min(max(left_a_slot / SHARE, least), longest, left) if state.indices else FIRST_SECONDS
    )
    return max(1, round(seconds / seconds_each))


def seconds_per_index(state: SieveState) -> float:
    """Return the CPU seconds that one leading coefficient takes: measured, or at first estimated."""
    if state.indices and state.cpu_seconds > 0:
        return state.cpu_seconds / state.indices
    return forecast.cpu_seconds_per_a(siqs.Parameters.from_dict(state.parameters))


def after_issue(part: Part, issued: Sequence[Work]) -> Part:
    """Return the part with the leading coefficients of the issued units taken."""
    ends = [
        work.first + work.count
        for work in issued
        if isinstance(work, Sieve) and work.target == part.value
    ]
    if not ends:
        return part
    return replace(part, sieve=replace(part.sieve or begin(part), next_index=max(ends)))


def after_sieve(state: SieveState, found: Sieved, cpu_seconds: float, now: float) -> SieveState:
    """Return the state with what a sieve unit found."""
    grown = replace(
        state,
        indices=state.indices + found.indices,
        full=state.full + found.full,
        partial=state.partial + found.partial,
        cpu_seconds=state.cpu_seconds + cpu_seconds,
    )
    return _forecast(replace(grown, marks=_marks(grown, now)))


def after_count(state: SieveState, counted: Counted) -> SieveState:
    """Return the state after a solve unit has found too few relations, so that sieving goes on.

    What it counted corrects the estimate, which was too high, or counted batches that were refused. If
    most of the relations are not there at all, the counts are worth nothing, and the sieve begins anew.
    """
    estimate = max(1, _estimate(state))
    if counted.usable < LOST_SHARE * min(estimate, state.needed):
        return SieveState(
            parameters=state.parameters,
            needed=max(counted.needed, state.needed),
            next_index=state.next_index,
            restarts=state.restarts + 1,
        )
    trust = min(counted.usable, counted.needed / ENOUGH) / estimate
    needed = max(counted.needed, counted.usable + 1)
    return _forecast(replace(state, trust=trust, needed=needed))


def _estimate(state: SieveState, growth: float = 1.0) -> int:
    """Return the usable relations at ``growth`` times the present counts, before any correction."""
    chosen = siqs.Parameters.from_dict(state.parameters)
    return forecast.estimate_usable(int(growth * state.full), int(growth * state.partial), chosen)


def _forecast(state: SieveState) -> SieveState:
    """Return the state with its estimates renewed.

    Cycles of partial relations form faster and faster, so the work that is left is not proportional to
    the relations that are missing. Instead, a bisection finds the multiple of the present counts at which
    there will be enough.
    """
    usable = int(state.trust * _estimate(state))
    low, high = 1.0, GROWTH_LIMIT
    for _ in range(30):
        middle = (low + high) / 2
        enough = state.trust * _estimate(state, middle) >= state.needed
        low, high = (low, middle) if enough else (middle, high)
    expected = state.indices if usable >= state.needed else round(high * state.indices)
    forecast_indices = state.forecast_indices
    if not forecast_indices and usable >= FORECAST_SHARE * state.needed:
        forecast_indices = expected
    return replace(
        state, usable=usable, expected_indices=expected, forecast_indices=forecast_indices
    )


def why_hopeless(state: SieveState, digits: int) -> str | None:
    """Return why a sieve of a composite of so many digits is to be given up, or None if it is not."""
    if state.restarts > RESTARTS:
        return (
            f"the relations of the sieve were lost or refused {state.restarts} times: a solve unit found "
            "far fewer than the sieve units had reported"
        )
    if state.usable < state.needed and share_of_forecast(state, digits) > OVERRUN:
        return (
            f"the sieve tried {state.indices} leading coefficients, {OVERRUN} times its forecast, and found "
            f"about {state.usable} of {state.needed} relations"
        )
    return None


def share_of_forecast(state: SieveState, digits: int) -> float:
    """Return the leading coefficients that were tried, divided by those forecast; 0 without a forecast."""
    forecast_indices = max(state.forecast_indices, _indices_at_most(state, digits))
    return state.indices / forecast_indices if forecast_indices else 0.0


def _indices_at_most(state: SieveState, digits: int) -> int:
    """Return about the leading coefficients that a composite of this size takes, 0 if that is unknown.

    Both figures are those of the reference machine, however slow this one is.
    """
    seconds = estimates.cpu_seconds(digits)
    if seconds is None:
        return 0
    chosen = siqs.Parameters.from_dict(state.parameters)
    return round(seconds / forecast.cpu_seconds_per_a(chosen))


def _marks(state: SieveState, now: float) -> tuple[tuple[float, int, int], ...]:
    every, longest = MARKS_SECONDS
    kept = [mark for mark in state.marks if now - mark[0] <= longest]
    if not kept or now - kept[-1][0] >= every:
        kept.append((now, state.indices, state.full + state.partial))
    return tuple(kept)
