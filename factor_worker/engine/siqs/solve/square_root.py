"""The square root: from dependencies to divisors.

The relations of a dependency multiply to x² ≡ y² (mod n): x is the product of their x, and y has each
prime with half its exponent in the product of their right-hand sides. Then gcd(x - y, n) is a divisor of
n, and a dependency gives a nontrivial one with a chance of one half or better.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

import gmpy2
import numpy as np

from factor_worker.engine.parts import split_value
from factor_worker.engine.siqs.solve import sparse
from factor_worker.engine.siqs.solve.sparse import Rows
from factor_worker.engine.siqs.words.arithmetic import to_integers
from factor_worker.engine.siqs.words.arrays import Index, Limbs

PRIME_ROUNDS: Final = 25
"""Miller-Rabin rounds that show that a piece needs no further splitting; the caller proves its primes."""


class Congruences(NamedTuple):
    """Relations x² ≡ ∏ primes[factors] · ∏ large_primes (mod n), as arrays."""

    x: Limbs
    """uint64[m, words]: |x|."""
    factors: Rows
    """Row i: the factors of relation i as indices into the factor base with multiplicity; index 0 is -1."""
    large_primes: Limbs
    """uint64[m, 2]: large primes, 1 for none."""


class NotASquare(ArithmeticError):
    """A dependency's product is no square: a relation or the linear algebra is wrong."""


def divisors(
    n: int,
    primes: Sequence[int],
    relations: Congruences,
    dependencies: Iterable[Index],
    report: Callable[[int], None],
) -> tuple[int, ...]:
    """Return nontrivial divisors of n, ascending, that split it as far as the dependencies can.

    A dependency is int64[m], the indices of its relations. `primes` is the factor base, -1 first. `report`
    is called with the number of dependencies used so far.

    Raises:
        NotASquare: a dependency does not multiply to a square.
    """
    found: set[int] = set()
    pieces = [n]
    for used, members in enumerate(dependencies):
        report(used)
        if all(_is_finished(piece) for piece in pieces):
            break
        x, y = _roots(n, primes, relations, members)
        split = [divisor for piece in pieces for divisor in split_value(piece, x - y)]
        found.update(set(split) - {n})
        pieces = split
    return tuple(sorted(found))


def _is_finished(piece: int) -> bool:
    return bool(gmpy2.is_prime(piece, PRIME_ROUNDS))


def _roots(
    n: int,
    primes: Sequence[int],
    relations: Congruences,
    members: Index,
) -> tuple[int, int]:
    """Return x and y with x² ≡ y² (mod n) from the relations of a dependency."""
    modulus = gmpy2.mpz(n)
    x = y = gmpy2.mpz(1)
    for factor in to_integers(relations.x[members]):
        x = x * factor % modulus
    exponents = np.bincount(sparse.take(relations.factors, members).columns, minlength=len(primes))
    large, counts = np.unique(relations.large_primes[members], return_counts=True)
    if (exponents % 2).any() or (counts[large > 1] % 2).any():
        raise NotASquare
    for prime, exponent in zip(primes[1:], exponents[1:].tolist(), strict=True):
        if exponent:
            y = y * gmpy2.powmod(prime, exponent // 2, modulus) % modulus
    for prime, times in zip(large.tolist(), counts.tolist(), strict=True):
        y = y * gmpy2.powmod(prime, times // 2, modulus) % modulus
    if (x * x - y * y) % modulus:
        raise NotASquare
    return int(x), int(y)
