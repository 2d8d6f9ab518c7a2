"""The square root: from dependencies to divisors.

The relations of a dependency multiply to x² ≡ y² (mod n): x is the product of their x, and y has
every prime with half the exponent that it has in the product of their right-hand sides. Then
gcd(x - y, n) is a divisor, and at least half of the dependencies give a nontrivial one.
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
"""Miller-Rabin rounds that say when there is nothing left to split; the caller proves what it keeps."""


class Congruences(NamedTuple):
    """Relations x² ≡ ∏ primes[factors]·large[0]·large[1] (mod n), in arrays throughout."""

    x: Limbs
    """uint64[m, words]: |x|."""
    factors: Rows
    """Indices into the factor base with multiplicity; index 0 is -1."""
    large_primes: Limbs
    """uint64[m, 2]: large primes, 1 for none."""


class NotASquare(ArithmeticError):
    """A dependency's product is not a square: relations or linear algebra are wrong."""


def divisors(
    n: int,
    primes: Sequence[int],
    relations: Congruences,
    dependencies: Iterable[Index],
    report: Callable[[int], None],
) -> tuple[int, ...]:
    """Return nontrivial divisors of n, ascending; they split n as far as the dependencies can.

    A dependency lists its relations, each once.
    `report` hears how many dependencies are used up.

    Raises:
        NotASquare: a dependency is none.
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
