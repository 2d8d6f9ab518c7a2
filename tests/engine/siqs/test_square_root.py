"""Dependencies between relations of an independent, plain sieve split its number."""

import math
from collections.abc import Iterable

import gmpy2
import numpy as np
import pytest

from factor_worker.engine.siqs.solve import filtering, linear_algebra, sparse, square_root
from factor_worker.engine.siqs.words.arrays import Index
from tests.engine.siqs import plain

P, Q = 998244353, 1000000007


def dependencies(found: plain.Plain) -> Iterable[Index]:
    """Filter and solve, as `solve` does."""
    sets = filtering.relation_sets(filtering.graph(found.relations.large_primes), limit=10**6)
    matrix = sparse.combine(sets, found.relations.factors, len(found.primes))
    words = linear_algebra.dependencies(matrix, len(found.primes), lambda _rows, _done, _of: None)
    assert linear_algebra.count(words) > 10
    return (filtering.members(sets, chosen) for chosen in linear_algebra.members(words))


def divisors(found: plain.Plain, chosen: Iterable[Index]) -> tuple[int, ...]:
    """Take the square roots, without reports."""
    return square_root.divisors(found.n, found.primes, found.relations, chosen, lambda _done: None)


def test_the_plain_sieve_gives_true_relations() -> None:
    """They hold over the integers, and some have two large primes."""
    found = plain.sieve(P * Q, base=60, half_interval=60_000, large_bound=2_000)

    assert (found.relations.large_primes > 1).all(axis=1).any()
    for index, x in enumerate(found.x):
        factors = [found.primes[at] for at in found.relations.factors.row(index)]
        assert x * x - P * Q == math.prod(factors) * math.prod(
            found.relations.large_primes[index].tolist()
        )


def test_full_and_partial_relations_split_a_semiprime() -> None:
    """Single and double large primes go through filtering, matrix and square root."""
    found = plain.sieve(P * Q, base=60, half_interval=60_000, large_bound=2_000)

    assert (P, Q) == divisors(found, dependencies(found))


def test_three_primes_are_all_separated() -> None:
    """One dependency splits n in two, others split the rest."""
    p, q, r = 1000003, 1000033, 999983
    found = plain.sieve(p * q * r, base=60, half_interval=60_000, large_bound=2_000)

    split = divisors(found, dependencies(found))

    assert {p, q, r} <= {math.gcd(a, b) for a in split for b in split}


def test_trivial_dependencies_give_no_divisors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modulo a prime every square has two roots only, so that every dependency is trivial."""
    prime = int(gmpy2.next_prime(10**17))
    found = plain.sieve(prime, base=60, half_interval=60_000, large_bound=2_000)

    monkeypatch.setattr(square_root, "_is_finished", lambda _piece: False)

    assert () == divisors(found, dependencies(found))


def test_a_dependency_that_is_no_square_is_refused() -> None:
    """It never becomes a wrong divisor."""
    found = plain.sieve(P * Q, base=60, half_interval=60_000, large_bound=2_000)

    with pytest.raises(square_root.NotASquare):
        divisors(found, [np.array([0])])


def test_a_wrong_x_is_refused() -> None:
    """The congruence is checked even if all exponents are even."""
    found = plain.sieve(P * Q, base=60, half_interval=60_000, large_bound=2_000)
    false_x = found.relations.x.copy()
    false_x[:, 0] ^= 1
    false = found._replace(relations=found.relations._replace(x=false_x))

    with pytest.raises(square_root.NotASquare):
        divisors(false, dependencies(found))
