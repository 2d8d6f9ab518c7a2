"""A cluster without machines: workers that lie about nothing, a broker and a store that do anything."""

import math
import random
from collections.abc import Iterator

from hypothesis import strategies as st
from msgspec.structs import replace

from common.domain import (
    BigInt,
    Certainty,
    Counted,
    Curves,
    Factorization,
    Failure,
    Outcome,
    Piece,
    Prove,
    Sieve,
    Sieved,
    Solve,
    Survey,
    Unit,
    Whole,
    factorizations,
)
from factor_worker import plan

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
seeds = st.integers(0, 1 << 32).map(random.Random)


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
            if luck.random() < 0.3:  # the estimate was too high, or a batch was refused
                counted = Counted(chosen["size"] * 9 // 10, chosen["size"], {"x-1": "garbage"})
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


class Cluster:
    """Does what `common.lifecycle` and `factor_worker.settlement` do, on a dict and a list.

    With trouble, messages are lost, doubled and reordered, and workers die between a swap and what should
    follow it; then only a sweep puts things right.
    """

    def __init__(self, luck: random.Random, *, trouble: float = 0.0) -> None:
        self.luck = luck
        """Decides which unit is next, what it finds, and what goes wrong. It may be replaced at any time."""
        self.trouble = trouble
        """How probable it is for each thing that can go wrong."""
        self._step = 0.0
        self.known: dict[int, Factorization] = {}
        self.tasks: set[int] = set()
        """The numbers that live tasks ask for."""
        self.queue: list[Unit] = []
        self.sieved: dict[int, int] = {}
        """Leading coefficients sieved, by composite."""

    def submit(self, number: int) -> None:
        """Accept a task and join it."""
        self.tasks.add(int(number))
        self._claim(factorizations.begin(number, self._now()), begin=True)

    def cancel(self, number: int) -> None:
        """End the task of a number as cancelled."""
        self.tasks.discard(int(number))
        self._release(number)

    def run(self) -> None:
        """Compute units until every task has ended and nobody wants anything any more."""
        for _ in range(200_000):
            if not self.busy():
                return
            self.step()
        raise AssertionError("the work does not end")

    def busy(self) -> bool:
        """Return whether a number that somebody wants is still being worked on."""
        self.tasks = {number for number in self.tasks if self.known[int(number)].ended is None}
        return any(known.active for known in self.known.values())

    def step(self) -> None:
        """Compute a unit, or sweep if there is none."""
        if not self.queue:
            self.sweep()
            return
        unit = self.queue.pop(self.luck.randrange(len(self.queue)))
        if self._unlucky():
            return
        for _ in range(2 if self._unlucky() else 1):
            self.settle(unit)

    def sweep(self) -> None:
        """Publish what is outstanding, rest what is unwanted, take in what was missed."""
        for number in list(self.known):
            known = self.known[int(number)]
            if known.active and not self._wanted(number):
                self._release(number)
            elif known.active:
                self.queue += [entry.unit for entry in known.outstanding.values()]
                self._take_in_parts(number, begin=False)
                self._pass_on(number)

    def settle(self, unit: Unit, failure: Failure | None = None) -> None:
        """Compute a unit, or have it fail, and settle its outcome."""
        outcome = answer(unit, self.luck)
        if failure is not None:
            outcome = Outcome(unit_id=unit.unit_id, failure=failure)
        before = self.known[int(unit.number)]
        others = plan.worth_comparing(self.tasks) if isinstance(unit.work, Survey) else []
        after = plan.settle(
            before, outcome, capacity=self._capacity(), now=self._now(), others=others
        )
        if after is before:
            return
        if isinstance(unit.work, Sieve):
            target = unit.work.target
            self.sieved[int(target)] = self.sieved.get(int(target), 0) + unit.work.count
        self._swap(before, after)
        if not self._unlucky():  # else the worker has died
            self._follow_up(unit.number, begin=True)
            for other in plan.multiples(after, others):
                self._divide(other, after)

    def settle_together(self, number: int) -> None:
        """Compute all outstanding units of a number, and settle their outcomes in one swap."""
        before = self.known[int(number)]
        outcomes = [answer(entry.unit, self.luck) for entry in before.outstanding.values()]
        after = plan.settle(before, *outcomes, capacity=self._capacity(), now=self._now())
        if after is not before:
            self._swap(before, after)
            if not self._unlucky():
                self._follow_up(number, begin=True)

    def _divide(self, number: int, by: Factorization) -> None:
        before = self.known[int(number)]
        after = plan.divide(before, by, capacity=self._capacity(), now=self._now())
        if after is not before:
            self._swap(before, after)
            self._follow_up(number, begin=True)
            for part in {*map(int, before.waits_for)} - {*map(int, after.waits_for)}:
                self._release(part)

    def _follow_up(self, number: int, *, begin: bool) -> None:
        self._publish(number)
        self._take_in_parts(number, begin=begin)
        if not self._unlucky():
            self._pass_on(number)

    def _take_in_parts(self, number: int, *, begin: bool) -> None:
        claimed: set[int] = set()
        while fresh := {*map(int, self.known[int(number)].waits_for)} - claimed:
            claimed |= fresh
            for part in self.known[int(number)].parts:
                if int(part.value) in fresh:
                    created = factorizations.begin(part.value, self._now(), part=part)
                    self._claim(created, begin=begin)
                    self._take_in(number, part.value)

    def _take_in(self, number: int, part: int) -> bool:
        before = self.known[int(number)]
        other, capacity = self.known[int(part)], self._capacity()
        after = plan.take_in(before, other, capacity=capacity, now=self._now())
        if after is before:
            return False
        self._swap(before, after)
        return True

    def _pass_on(self, number: int) -> None:
        known = self.known[int(number)]
        if known.own_part is not None and known.ended is None:
            return
        for waiting in list(self.known.values()):
            if number in waiting.waits_for and self._take_in(waiting.number, number):
                self._follow_up(waiting.number, begin=True)
        if self.known[int(number)].active:
            self._release(number)

    def _claim(self, created: Factorization, *, begin: bool) -> None:
        number = created.number
        before = self.known.get(int(number))
        if before is None:
            self.known[int(number)] = created
        else:
            after = before.claimed(self._now(), resume=begin)
            if after is before or (before.active and not begin):
                return
            self._swap(before, after)
        self._publish(number)
        if before is not None and not before.active:
            for part in self.known[int(number)].parts:
                if part.value in self.known[int(number)].waits_for:
                    self._claim(
                        factorizations.begin(part.value, self._now(), part=part), begin=True
                    )

    def _release(self, number: int) -> None:
        known = self.known.get(int(number))
        if known is None or not known.active or self._wanted(number):
            return
        self._swap(known, known.rested(self._now()))
        if not self._unlucky():
            for part in known.waits_for:
                self._release(part)

    def _wanted(self, number: int) -> bool:
        return int(number) in self.tasks or any(
            number in known.waits_for for known in self.known.values()
        )

    def _swap(self, before: Factorization, after: Factorization) -> None:
        after.check()
        assert after.version == before.version + 1
        assert self.known[int(after.number)] is before
        self.known[int(after.number)] = after

    def _publish(self, number: int) -> None:
        known = self.known[int(number)]
        self.queue += known.units_in_outbox()
        self.known[int(number)] = replace(known, outbox=())

    def _capacity(self) -> plan.Capacity:
        return plan.Capacity(self.luck.randint(1, 6))

    def _now(self) -> float:
        self._step += 1.0
        return self._step

    def _unlucky(self) -> bool:
        return self.luck.random() > 1 - self.trouble  # examples shrink towards what is whole


def run_to_the_end(number: int, luck: random.Random, *, trouble: float) -> Factorization:
    """Factor one number on a cluster; return its factorization when the work has ended."""
    cluster = Cluster(luck, trouble=trouble)
    cluster.submit(number)
    cluster.run()
    return cluster.known[number]


def primes_of(known: Factorization) -> list[tuple[int, int]]:
    """Return the prime powers of a complete factorization."""
    return sorted((part.value, part.exponent) for part in known.parts)
