"""Stored batches, good, repeated, false or too few, give divisors or say what is missing."""

from collections.abc import Iterable
from typing import NamedTuple

import pytest

from factor_worker.engine.siqs.polynomials import parameters
from factor_worker.engine.siqs.polynomials.parameters import Parameters
from factor_worker.engine.siqs.sieve import unit
from factor_worker.engine.siqs.solve import solve
from factor_worker.engine.siqs.solve.solve import Progress, Solved, StoredBatch
from tests.engine import examples

P, Q = examples.next_prime(10**19 + 1234), examples.next_prime(3 * 10**19 + 5678)


class Sieved(NamedTuple):
    """A number and enough batches to split it."""

    n: int
    parameters: Parameters
    batches: list[StoredBatch]

    def solve(self, batches: Iterable[StoredBatch], heard: list[Progress] | None = None) -> Solved:
        """Solve with these batches."""
        report = [] if heard is None else heard
        return solve.solve(self.n, self.parameters, batches, report=report.append)


def sieved(n: int) -> Sieved:
    """Sieve unit by unit, each a quarter of what was sieved before, until the relations suffice."""
    found = Sieved(n, parameters.choose(n), [])
    needed = found.solve([]).needed
    while found.solve(found.batches).usable < needed:
        first = sum(batch.count for batch in found.batches)
        batch = unit.sieve(n, found.parameters, first, 1 + first // 4)
        found.batches.append(StoredBatch(f"unit {first}", first, batch.done, batch.data))
    return found


@pytest.fixture(scope="module")
def semiprime() -> Sieved:
    """A number of 39 digits, sieved."""
    return sieved(P * Q)


def test_enough_relations_split_the_number(semiprime: Sieved) -> None:
    """Every batch is good, and both primes come out."""
    solved = semiprime.solve(semiprime.batches)

    assert Solved((P, Q), solved.usable, solved.needed, {}) == solved
    assert solved.usable >= solved.needed


def test_a_bad_batch_is_rejected_and_named(semiprime: Sieved) -> None:
    """A faulty worker loses its own batch, and the number is still factored."""
    first, count = semiprime.batches[-1].first, semiprime.batches[-1].count
    bad = [
        StoredBatch("noise", 10**6, 1, b"no relations at all"),
        StoredBatch("elsewhere", first + count, 1, semiprime.batches[-1].data),
    ]

    solved = semiprime.solve([bad[0], *semiprime.batches, bad[1]])

    assert (P, Q) == solved.divisors
    assert {"noise", "elsewhere"} == set(solved.bad)
    assert all(solved.bad.values())


def test_a_repeated_batch_counts_once(semiprime: Sieved) -> None:
    """A unit that two workers did adds nothing."""
    twice = [batch for batch in semiprime.batches for _ in range(2)]

    assert semiprime.solve(semiprime.batches) == semiprime.solve(twice)


def test_with_too_few_relations_the_result_says_how_many_are_needed(semiprime: Sieved) -> None:
    """Linear algebra is not started, and the caller goes on sieving."""
    heard: list[Progress] = []

    solved = semiprime.solve(semiprime.batches[:-1], heard)

    assert not solved.divisors
    assert 0 < solved.usable < solved.needed
    assert {"verify", "filter"} == {progress.stage for progress in heard}


def test_without_batches_the_result_says_how_many_rows_are_needed(semiprime: Sieved) -> None:
    """Nothing is usable, and nothing is wrong."""
    solved = semiprime.solve([])

    assert ((), 0, {}) == (solved.divisors, solved.usable, solved.bad)


def test_the_stages_are_reported_in_order(semiprime: Sieved) -> None:
    """With progress that never exceeds the total."""
    heard: list[Progress] = []

    semiprime.solve(semiprime.batches, heard)

    stages = list(dict.fromkeys(progress.stage for progress in heard))
    assert ["verify", "filter", "matrix", "square root"] == stages
    assert all(progress.done <= progress.total for progress in heard)


def test_trivial_dependencies_ask_for_more_relations() -> None:
    """For a prime every dependency is trivial: the caller must be asked for more, not told to solve again."""
    prime = sieved(examples.next_prime(10**30))

    solved = prime.solve(prime.batches)

    assert not solved.divisors
    assert solved.usable < solved.needed
