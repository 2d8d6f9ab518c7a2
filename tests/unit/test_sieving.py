"""The sieve's part of the plan: units of the right size, solved when it is time, corrected by counts."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from common.domain import BigInt, Certainty, Counted, Part, Sieve, Sieved, SieveState, Solve
from factor_worker.plan import sieve

N = BigInt((10**35 + 69) * (10**36 + 67))
PART = Part(value=N, certainty=Certainty.COMPOSITE)
YIELD = Sieved(indices=10, full=200, partial=2000)
"""Of ten leading coefficients, about what a number of this size gives."""


def grown(units: int, state: SieveState | None = None) -> SieveState:
    """Return the state after so many units, a second apart, each of 0.15 CPU seconds."""
    state = state or sieve.begin(PART)
    for second in range(units):
        state = sieve.after_sieve(state, YIELD, 0.15, float(second))
    return state


def enough() -> SieveState:
    """Return the state of a sieve that has all it needs."""
    state = grown(1)
    while state.usable < state.needed:
        state = grown(1, state)
    return state


def next_units(state: SieveState, count: int, slots: int = 2) -> list[Sieve]:
    """Return the next sieve units."""
    works = itertools.islice(sieve.works(replace(PART, sieve=state), [], slots), count)
    return [work for work in works if isinstance(work, Sieve)]


def test_units_never_share_a_polynomial() -> None:
    """Each takes up where the one before ends, over issues and restarts."""
    part, seen = PART, list[int]()
    for _ in range(5):
        units = list(itertools.islice(sieve.works(part, [], 3), 4))
        part = sieve.after_issue(part, units)
        for unit in units:
            assert isinstance(unit, Sieve)
            seen += range(unit.first, unit.first + unit.count)

    assert list(range(len(seen))) == seen


def test_units_are_small_at_the_start_and_at_the_end() -> None:
    """In the middle one lasts seconds; none is late when the others have nothing to do."""
    state = grown(1)
    middle = next_units(state, 1)[0].count
    late = replace(
        state, indices=state.expected_indices - 1, cpu_seconds=0.015 * state.expected_indices
    )
    end = next_units(late, 1)[0].count
    shortest, longest = sieve.UNIT_SECONDS

    assert next_units(sieve.begin(PART), 1)[0].count <= middle
    assert end <= middle
    assert shortest <= middle * 0.015 <= longest + 0.015


def test_what_is_under_way_counts() -> None:
    """Slots that ask later get less of what is left."""
    counts = [unit.count for unit in next_units(grown(5), 50)]

    assert counts == sorted(counts, reverse=True)


def test_no_more_than_needed_is_under_way() -> None:
    """However many slots there are; what they would do beyond that would be thrown away."""
    state = grown(5)
    left = state.expected_indices - state.indices
    units = list(sieve.works(replace(PART, sieve=state), [], 8))
    counts = [unit.count for unit in units if isinstance(unit, Sieve)]

    assert left == sum(counts)
    assert [] == list(sieve.works(replace(PART, sieve=state), units, 8))
    assert next_units(state, 1)  # and with nothing under way there is always one


def test_enough_relations_are_solved_and_nothing_else_is_issued_meanwhile() -> None:
    """One solve unit, once."""
    state = enough()
    part = replace(PART, sieve=state)
    units = list(sieve.works(part, [], 4))

    assert [Solve(N, state.parameters)] == units
    assert [] == list(sieve.works(part, units, 4))


@settings(deadline=None, max_examples=30)
@given(units=st.integers(1, 60))
def test_the_forecast_never_falls_below_the_work_done(units: int) -> None:
    """What is expected is more than what was done exactly as long as there is not enough."""
    state = grown(units)

    assert state.expected_indices >= state.indices
    assert (state.expected_indices == state.indices) == (state.usable >= state.needed)


@settings(deadline=None, max_examples=30)
@given(share=st.floats(0.01, 0.999))
def test_a_count_that_is_too_low_makes_it_sieve_on(share: float) -> None:
    """The estimate is corrected, so that there is more to do and not the same solve again."""
    state = enough()
    after = sieve.after_count(state, Counted(int(share * state.needed), state.needed))

    assert after.usable < after.needed
    assert after.expected_indices > after.indices
    assert next_units(after, 1)
    while after.usable < after.needed:
        after = grown(1, after)


def test_the_rate_is_of_the_last_minute() -> None:
    """Old marks are forgotten, and there are few of them."""
    state = grown(300)

    assert state.marks[0][0] >= 299 - 60
    assert len(state.marks) <= 13
