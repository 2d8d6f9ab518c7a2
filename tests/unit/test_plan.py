"""Properties of the plan: whatever happens to units, the same factorization comes out."""

import math
import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from common.domain import (
    BigInt,
    Certainty,
    Counted,
    Curves,
    Factorization,
    Failure,
    Fault,
    Outcome,
    Piece,
    Prove,
    Sieve,
    Sieved,
    Solve,
    Status,
    Survey,
    Unit,
    Whole,
    factorizations,
)
from factor_worker.plan import plan, policy

SMALL_PRIMES = (2, 3, 5, 7, 11, 13, 17)
LARGE_PRIMES = (
    10**24 + 7,
    10**25 + 13,
    10**26 + 67,
    10**30 + 57,
    10**33 + 61,
    10**40 + 121,
    10**50 + 151,
)
numbers = st.lists(st.sampled_from(SMALL_PRIMES + LARGE_PRIMES), min_size=1, max_size=5)
seeds = st.randoms(use_true_random=False)


def primes_in(target: int) -> Iterator[Piece]:
    """Yield the true prime powers of a product of the primes above."""
    for prime in sorted(SMALL_PRIMES + LARGE_PRIMES):
        exponent = 0
        while target % prime == 0:
            target //= prime
            exponent += 1
        if exponent:
            yield Piece(BigInt(prime), exponent, Certainty.PROVEN)


def composite(pieces: list[Piece]) -> Piece:
    """Return the product of several prime powers, as a piece that is not known to be split."""
    value = BigInt(math.prod(piece.value**piece.exponent for piece in pieces))
    return Piece(value, 1, Certainty.COMPOSITE)


def answer(unit: Unit, luck: random.Random) -> Outcome:
    """Return what a worker may report: everything in it is true, but not everything is found."""
    pieces = list(primes_in(unit.work.target))
    match unit.work:
        case Whole() | Prove():
            found = pieces
        case Sieve():
            sieved = Sieved(unit.work.count, full=900 * unit.work.count, partial=luck.randrange(99))
            return Outcome(unit_id=unit.unit_id, sieved=sieved, cpu_seconds=0.5 * unit.work.count)
        case Solve(parameters=chosen):
            if luck.random() < 0.5:  # the estimate was too high, or a batch was refused
                counted = Counted(chosen["size"] // 2, chosen["size"], {"x-1": "garbage"})
                return Outcome(unit_id=unit.unit_id, counted=counted)
            found = pieces
        case Survey():
            small = [piece for piece in pieces if piece.value in SMALL_PRIMES]
            large = [piece for piece in pieces if piece.value not in SMALL_PRIMES]
            simple = len(large) == 1 or not large
            found = small + (large if simple else [composite(large)])
        case Curves():
            lucky = len(pieces) > 1 and luck.random() < 0.3
            found = [pieces[0], *pieces[1:][:1]] if lucky and len(pieces) == 2 else []
            if lucky and len(pieces) > 2:
                found = [pieces[0], composite(pieces[1:])]
            return Outcome(unit_id=unit.unit_id, pieces=tuple(found), curves=unit.work.count)
    return Outcome(unit_id=unit.unit_id, pieces=tuple(found))


def run_to_the_end(number: int, luck: random.Random, *, trouble: float) -> Factorization:
    """Simulate workers and a broker that reorders, doubles, loses and redelivers, until the work ends."""
    known = factorizations.begin(number, 0.0)
    queue = list(known.units_in_outbox())
    for step in range(100_000):
        if known.ended:
            return known
        if not queue:  # everything was lost: the sweeper publishes what is outstanding
            queue = [entry.unit for entry in known.outstanding.values()]
        unit = queue.pop(luck.randrange(len(queue)))
        if luck.random() < trouble:
            continue
        copies = 2 if luck.random() < trouble else 1
        for _ in range(copies):
            after = plan.settle(
                known, answer(unit, luck), capacity=plan.Capacity(luck.randint(1, 6)), now=step
            )
            after.check()
            assert after is known or after.version == known.version + 1
            queue += [after.outstanding[key].unit for key in after.outbox]
            known = replace(after, outbox=()) if after is not known else known
    raise AssertionError("the plan does not end")


def primes_of(known: Factorization) -> list[tuple[int, int]]:
    """Return the prime powers of a complete factorization."""
    return sorted((part.value, part.exponent) for part in known.parts)


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
    assert len(resumed.outbox) == 1


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
