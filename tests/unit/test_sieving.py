"""The plan for the sieve: units of the right size, solving at the right time, corrected estimates."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from common.domain import BigInt, Certainty, Counted, Part, Sieve, Sieved, SieveState, Solve
from factor_worker.plan import sieve

N = BigInt((10**35 + 69) * (10**36 + 67))
PART = Part(value=N, certainty=Certainty.COMPOSITE)
YIELD = Sieved(indices=10, full=200, partial=2000)
"""About what ten leading coefficients give for a number of this size."""


def grown(units: int, state: SieveState | None = None) -> SieveState:
    """Return the state after some units, a second apart and of 0.15 CPU seconds each."""
    state = state or sieve.begin(PART)
    for second in range(units):
        state = sieve.after_sieve(state, YIELD, 0.15, float(second))
    return state


def enough() -> SieveState:
    """Return the state of a sieve that has enough relations."""
    state = grown(1)
    while state.usable < state.needed:
        state = grown(1, state)
    return state


def next_units(state: SieveState, count: int, slots: int = 2) -> list[Sieve]:
    """Return the next sieve units."""
    works = itertools.islice(sieve.works(replace(PART, sieve=state), [], slots), count)
    return [work for work in works if isinstance(work, Sieve)]


def test_no_two_units_share_a_polynomial() -> None:
    """Each begins where the one before it ends, also over several issues."""
    part, seen = PART, list[int]()
    for _ in range(5):
        units = list(itertools.islice(sieve.works(part, [], 3), 4))
        part = sieve.after_issue(part, units)
        for unit in units:
            assert isinstance(unit, Sieve)
            seen += range(unit.first, unit.first + unit.count)

    assert list(range(len(seen))) == seen


def test_units_are_small_at_the_start_and_at_the_end() -> None:
    """In the middle they last seconds; at the end, no slot is still busy when the others are done."""
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


def test_units_under_way_make_the_next_ones_smaller() -> None:
    """They do part of what is left."""
    counts = [unit.count for unit in next_units(grown(5), 50)]

    assert counts == sorted(counts, reverse=True)


def test_no_more_than_needed_is_under_way() -> None:
    """However many slots there are: whatever they did beyond that would be thrown away."""
    state = grown(5)
    left = state.expected_indices - state.indices
    units = list(sieve.works(replace(PART, sieve=state), [], 8))
    counts = [unit.count for unit in units if isinstance(unit, Sieve)]

    assert left == sum(counts)
    assert [] == list(sieve.works(replace(PART, sieve=state), units, 8))
    assert next_units(state, 1)  # with nothing under way there is always one


def test_enough_relations_get_one_solve_unit_and_nothing_else() -> None:
    """While it is outstanding, nothing more is issued."""
    state = enough()
    part = replace(PART, sieve=state)
    units = list(sieve.works(part, [], 4))

    assert [Solve(N, state.parameters)] == units
    assert [] == list(sieve.works(part, units, 4))


@settings(deadline=None, max_examples=30)
@given(units=st.integers(1, 60))
def test_the_forecast_never_falls_below_the_work_done(units: int) -> None:
    """It exceeds the work done exactly as long as there are not enough relations."""
    state = grown(units)

    assert state.expected_indices >= state.indices
    assert (state.expected_indices == state.indices) == (state.usable >= state.needed)


@settings(deadline=None, max_examples=30)
@given(share=st.floats(sieve.LOST_SHARE + 0.01, 0.999))
def test_sieving_goes_on_after_a_solve_unit_that_counts_too_few(share: float) -> None:
    """The estimate is corrected, so that sieve units follow and not the same solve unit again."""
    state = enough()
    after = sieve.after_count(state, Counted(int(share * state.needed), state.needed))

    assert after.usable < after.needed
    assert after.expected_indices > after.indices
    assert next_units(after, 1)
    while after.usable < after.needed:
        after = grown(1, after)


def test_marks_are_those_of_the_last_minute() -> None:
    """Older ones are forgotten, and there are few of them."""
    state = grown(300)

    assert state.marks[0][0] >= 299 - 60
    assert len(state.marks) <= 13


@given(share=st.floats(0, sieve.LOST_SHARE - 0.01))
def test_a_sieve_whose_relations_are_gone_begins_anew(share: float) -> None:
    """What was counted is worth nothing then, but no polynomial is sieved twice."""
    state = enough()
    after = sieve.after_count(state, Counted(int(share * state.needed), state.needed))

    assert (0, 0, 0, 1) == (after.full, after.partial, after.indices, after.restarts)
    assert [state.next_index] == [unit.first for unit in next_units(after, 1)]
    while after.usable < after.needed:
        after = grown(1, after)
    assert sieve.why_hopeless(after, PART.digits) is None


def test_a_sieve_that_loses_its_relations_again_and_again_is_given_up() -> None:
    """A number must not be stuck for ever."""
    state = enough()
    for _ in range(sieve.RESTARTS):
        state = sieve.after_count(state, Counted(0, state.needed))
        assert sieve.why_hopeless(state, PART.digits) is None
    state = sieve.after_count(state, Counted(0, state.needed))

    assert "lost or refused 4 times" in (sieve.why_hopeless(state, PART.digits) or "")


def test_a_sieve_that_finds_next_to_nothing_is_given_up() -> None:
    """It has tried several times what its forecast, and experience with its size, allow for."""
    state = sieve.begin(PART)
    poor = Sieved(indices=1000, full=1, partial=5)
    for second in range(10):
        state = sieve.after_sieve(state, poor, 1.0, float(second))

    assert "times its forecast" in (sieve.why_hopeless(state, PART.digits) or "")
