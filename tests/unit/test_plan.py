"""Properties of the plan: whatever happens to units, the same factorization comes out."""

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from common.domain import (
    BigInt,
    Certainty,
    Curves,
    Failure,
    Fault,
    Outcome,
    Piece,
    Sieve,
    Sieved,
    Status,
    Survey,
    factorizations,
)
from factor_worker.plan import plan, policy, shared, sieve
from tests.unit.cluster import (
    LARGE_PRIMES,
    Cluster,
    answer,
    numbers,
    primes_in,
    primes_of,
    run_to_the_end,
    seeds,
)


@settings(max_examples=150, deadline=None)
@given(primes=numbers, luck=seeds, trouble=st.sampled_from([0.0, 0.1, 0.5]))
def test_whatever_happens_to_units_the_factorization_is_the_same(
    primes: list[int], luck: random.Random, trouble: float
) -> None:
    """Reordering, doubling and losing units does not change the answer."""
    number = math.prod(primes)
    known = run_to_the_end(number, luck, trouble=trouble)

    unfinishable = [part for part in known.parts if not part.certainty.prime]
    if unfinishable:
        assert known.ended is not None
        assert known.ended.status is Status.PARTIAL
        assert all(part.digits > policy.SIEVE_LIMIT_DIGITS for part in unfinishable)
    else:
        expected = [(piece.value, piece.exponent) for piece in primes_in(number)]
        assert expected == primes_of(known)
        assert known.ended is not None
        assert known.ended.status is Status.SUCCEEDED


@given(primes=numbers, luck=seeds)
def test_an_outcome_of_a_settled_unit_changes_nothing(
    primes: list[int], luck: random.Random
) -> None:
    """If the unit is not outstanding, the plan returns the very same object."""
    before = factorizations.begin(math.prod(primes), 0.0)
    outcome = answer(before.units_in_outbox()[0], luck)
    after = plan.settle(before, outcome, capacity=plan.Capacity(2), now=1.0)

    assert after is plan.settle(after, outcome, capacity=plan.Capacity(2), now=2.0)


@given(primes=numbers)
def test_cancelled_work_issues_no_units(primes: list[int]) -> None:
    """A number that nobody wants has nothing outstanding, and late outcomes are ignored."""
    before = factorizations.begin(math.prod(primes), 0.0)
    rested = before.rested(1.0)
    late = answer(before.units_in_outbox()[0], random.Random(0))

    assert not rested.outstanding
    assert not rested.outbox
    assert plan.settle(rested, late, capacity=plan.Capacity(2), now=2.0) is rested


@given(primes=numbers, luck=seeds)
def test_a_number_that_is_asked_for_again_continues_where_it_stopped(
    primes: list[int], luck: random.Random
) -> None:
    """Resuming keeps the parts and the effort."""
    number = math.prod(primes)
    first = factorizations.begin(number, 0.0)
    half = plan.settle(
        first, answer(first.units_in_outbox()[0], luck), capacity=plan.Capacity(2), now=1.0
    )
    if half.ended:
        return
    resumed = half.rested(2.0).resumed(3.0)

    assert resumed.active
    assert [part.effort for part in half.parts] == [part.effort for part in resumed.parts]
    assert half.waits_for == resumed.waits_for
    assert bool(resumed.outbox) == (half.own_part is not None)


@given(fault=st.sampled_from(list(Fault)), primes=numbers)
def test_work_ends_when_a_fault_has_used_up_its_budget(fault: Fault, primes: list[int]) -> None:
    """A unit that always fails is tried as often as its budget says, then given up on with a reason."""
    known = factorizations.begin(math.prod(primes), 0.0)
    unit_id = known.outbox[0]
    failure = Outcome(unit_id=unit_id, failure=Failure(fault, "on purpose"))
    for attempt in range(1, policy.FAULT_BUDGET[fault]):
        known = plan.settle(known, failure, capacity=plan.Capacity(2), now=attempt)
        assert known.ended is None
        assert known.outstanding[unit_id].faults == {fault: attempt}
    known = plan.settle(known, failure, capacity=plan.Capacity(2), now=99.0)

    assert known.ended is not None
    assert known.ended.status is Status.FAILED
    assert "on purpose" in (known.ended.reason or "")
    assert known.may_resume


@given(
    pieces=st.lists(
        st.builds(
            Piece,
            st.integers(-3, 10**6).map(BigInt),
            st.integers(-1, 3),
            st.sampled_from(list(Certainty)),
        ),
        max_size=4,
    )
)
def test_a_wrong_outcome_is_refused_as_a_whole(pieces: list[Piece]) -> None:
    """Pieces that do not multiply to the target count as a fault, and none of them is kept."""
    number = 10**40 + 121
    before = factorizations.begin(number, 0.0)
    outcome = Outcome(unit_id=before.outbox[0], pieces=tuple(pieces))
    after = plan.settle(before, outcome, capacity=plan.Capacity(2), now=1.0)

    assert after.parts == before.parts
    assert after.outstanding[before.outbox[0]].faults == {Fault.WRONG: 1}


def test_a_factor_makes_the_other_units_of_its_composite_unnecessary() -> None:
    """They are dropped in the same version that splits the composite."""
    primes = [10**33 + 61, 10**50 + 151]
    known = factorizations.begin(math.prod(primes), 0.0)
    known = plan.settle(
        known,
        answer(known.units_in_outbox()[0], random.Random(1)),
        capacity=plan.Capacity(4),
        now=1,
    )
    units = [entry.unit for entry in known.outstanding.values()]
    pieces = tuple(primes_in(known.number))
    after = plan.settle(
        known,
        Outcome(unit_id=units[0].unit_id, pieces=pieces, curves=1),
        capacity=plan.Capacity(4),
        now=2,
    )

    assert len(units) == 5
    assert not after.outstanding
    assert after.complete


@pytest.mark.parametrize(
    ("slots", "numbers", "outstanding"), [(4, 1, 5), (4, 2, 3), (4, 3, 3), (4, 4, 2), (2, 9, 2)]
)
def test_numbers_share_the_slots(slots: int, numbers: int, outstanding: int) -> None:
    """Each has one unit more than its share, and at least two, so that together they fill every slot."""
    known = factorizations.begin((10**40 + 121) * (10**50 + 151), 0.0)
    survey = answer(known.units_in_outbox()[0], random.Random(1))
    known = plan.settle(known, survey, capacity=plan.Capacity(slots, numbers), now=1.0)

    assert outstanding == len(known.outstanding)
    assert numbers * outstanding > slots


def sieve_units(slots: int, numbers: int) -> list[int]:
    """Return the sizes of the sieve units that are issued in the middle of a sieve."""
    part = factorizations.begin((10**45 + 9) * (10**46 + 121), 0.0).parts[0]
    state = sieve.begin(part)
    for second in range(3):
        found = Sieved(indices=10, full=20, partial=200)
        state = sieve.after_sieve(state, found, 10.0, float(second))
    part = replace(part, certainty=Certainty.COMPOSITE, gave_up={"ecm": ""}, sieve=state)
    known = replace(factorizations.begin(part.value, 0.0), parts=(part,), outstanding={}, outbox=())
    known = known.with_issued([Sieve(part.value, state.parameters, 0, 10)], 0.0)
    [unit_id] = known.outstanding
    outcome = Outcome(unit_id=unit_id, sieved=Sieved(10, 20, 200), cpu_seconds=10.0)
    known = plan.settle(known, outcome, capacity=plan.Capacity(slots, numbers), now=4.0)
    works = [entry.unit.work for entry in known.outstanding.values()]
    return [work.count for work in works if isinstance(work, Sieve)]


def test_the_size_of_a_sieve_unit_is_for_the_slots_of_its_number() -> None:
    """Units of a quarter of a second, on thousands of slots, would be too many for the store."""
    assert sieve_units(20_000, 1000) == sieve_units(20, 1)
    assert sieve_units(20_000, 1000)[0] > sieve_units(20_000, 1)[0]


def test_in_a_small_cluster_a_sieve_unit_is_small_although_numbers_share_the_slots() -> None:
    """A new number waits until a unit of the others ends, and few slots can become free."""
    assert sieve_units(4, 4)[0] == sieve_units(4, 1)[0]


def test_no_sigma_is_issued_twice() -> None:
    """Curves on a composite never repeat: a repeated sigma would be a wasted curve."""
    known = factorizations.begin((10**40 + 121) * (10**50 + 151), 0.0)
    seen: list[int] = []
    luck = random.Random(1)
    while not known.ended:
        for key in known.outbox:
            work = known.outstanding[key].unit.work
            if isinstance(work, Curves):
                seen += range(work.first_sigma, work.next_sigma)
        known = replace(known, outbox=())
        unit = luck.choice([entry.unit for entry in known.outstanding.values()])
        outcome = Outcome(unit_id=unit.unit_id, curves=getattr(unit.work, "count", 0))
        if isinstance(unit.work, Survey):
            outcome = answer(unit, luck)
        known = plan.settle(known, outcome, capacity=plan.Capacity(3, sieve_digits=0), now=1.0)

    assert len(seen) == len(set(seen))
    assert len(seen) == sum(level.curves for level in policy.LEVELS) + len(policy.FIRST_RUNS)


@settings(max_examples=50, deadline=None)
@given(luck=seeds)
def test_a_composite_is_sieved_once_whoever_contains_it(luck: random.Random) -> None:
    """None of its multiples has a unit but its survey."""
    hard = math.prod(LARGE_PRIMES[3:5])
    together = Cluster(luck)
    for exponents in itertools.product(range(4), range(3), range(2), range(2)):
        smooth = math.prod(
            prime**exponent for prime, exponent in zip((2, 3, 5, 7), exponents, strict=True)
        )
        together.submit(smooth * hard)
    together.run()

    assert together.sieved.keys() <= {hard}
    assert all(known.complete for known in together.known.values())
    assert {1} == {known.issued for number, known in together.known.items() if number != hard}


def test_a_number_asked_for_after_its_composite_is_known_costs_nothing() -> None:
    """What was known before is used at once."""
    cluster = Cluster(random.Random(1))
    hard = math.prod(LARGE_PRIMES[3:5])
    cluster.submit(hard)
    cluster.run()
    units = cluster.known[hard].issued
    cluster.submit(3 * hard)
    cluster.run()

    assert units == cluster.known[hard].issued
    assert cluster.known[3 * hard].complete
    assert 1 == cluster.known[3 * hard].issued
    assert cluster.known[3 * hard].cpu_seconds >= cluster.known[hard].cpu_seconds


C, D, E = (
    LARGE_PRIMES[3] * LARGE_PRIMES[4],
    LARGE_PRIMES[2] * LARGE_PRIMES[5],
    LARGE_PRIMES[0] * LARGE_PRIMES[6],
)
"""Composites of 64, 67 and 75 digits: a product of two of them is too large for a sieve."""


@settings(max_examples=50, deadline=None)
@given(
    family=st.permutations([C * D, C, 3 * C * D, D * E, C * C * LARGE_PRIMES[1], 7 * D]),
    luck=seeds,
)
def test_products_of_composites_are_split_by_each_other(
    family: list[int], luck: random.Random
) -> None:
    """All are factored, although some are too large for a sieve, and each composite is sieved once."""
    cluster = Cluster(luck)
    for number in family:
        cluster.submit(number)
    for survey in list(cluster.queue):
        cluster.settle(survey)
    cluster.run()

    assert cluster.sieved.keys() <= {C, D, E}
    assert all(cluster.known[number].complete for number in family)


def test_a_composite_is_split_by_numbers_that_share_something_with_it() -> None:
    """Its pieces keep the effort, and multiples and strangers do nothing."""
    blank = factorizations.begin(C * D, 0.0)
    effort = factorizations.Effort({"ecm B1=11000": 74}, 80)
    part = replace(blank.parts[0], certainty=Certainty.COMPOSITE, effort=effort)
    known = replace(blank, parts=(part,))

    assert known is shared.divided(known, [C * D, 2 * C * D, E, 97])
    for others in ([C], [D], [C * E], [5 * D, C * C], [C, D, E]):
        split = shared.divided(known, others)
        assert [C, D] == [piece.value for piece in split.parts]
        assert [effort] * 2 == [piece.effort for piece in split.parts]
        assert [Certainty.COMPOSITE] * 2 == [piece.certainty for piece in split.parts]


def test_a_square_is_split_by_its_root() -> None:
    """One piece with an exponent is a split too."""
    blank = factorizations.begin(C * C, 0.0)
    part = replace(blank.parts[0], certainty=Certainty.COMPOSITE)
    [piece] = shared.divided(replace(blank, parts=(part,)), [7 * C]).parts

    assert (C, 2) == (piece.value, piece.exponent)


def test_cancelling_one_of_two_lets_the_other_go_on() -> None:
    """The composite rests only when nobody waits for it any more."""
    cluster = Cluster(random.Random(2))
    hard = math.prod(LARGE_PRIMES[3:5])
    for factor in (3, 5):
        cluster.submit(factor * hard)
    for survey in list(cluster.queue):
        cluster.settle(survey)
    assert all(cluster.known[factor * hard].waits_for == (hard,) for factor in (3, 5))
    cluster.cancel(3 * hard)
    assert cluster.known[hard].active
    cluster.cancel(5 * hard)

    assert not cluster.known[hard].active
    assert not cluster.known[hard].outstanding
