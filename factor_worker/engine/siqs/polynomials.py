"""Polynomials of the sieve: from an a-index to a, its primes and the B that all b are made of.

Values are X² - kN with X = a·(x - M) + b, so that a divides them when b² ≡ kN (mod a). With
a = q_1·…·q_s there are 2^(s-1) such b that matter, b = ±B_1 ± … ± B_(s-1) + B_s, where B_l is a
square root of kN modulo q_l and 0 modulo the other q. Source: Contini, "Factoring integers with the
self-initializing quadratic sieve" (1997).

An index is permuted and unranked to s - 1 primes of pool A; the last prime is the one of pool B
that brings a closest to √(2kN)/M. The pools are disjoint, so different indices give different a.
"""

from bisect import bisect_left
from functools import lru_cache
from math import comb, gcd, isqrt, log
from typing import Final, NamedTuple

import gmpy2

from factor_worker.engine.siqs import factor_base
from factor_worker.engine.siqs.parameters import BLOCK, Parameters

ENOUGH: Final = 1 << 24
"""Pool A grows until it has so many subsets: far more than any sieve uses."""
LEAST: Final = 30
"""Primes below this do not serve for a if there are others: they would be missed in the values."""


class Family(NamedTuple):
    """The polynomials that share an a."""

    a: int
    indices: tuple[int, ...]
    """Of the primes of a, in the factor base."""
    primes: tuple[int, ...]
    parts: tuple[int, ...]
    """B_l for every prime of a."""
    gammas: tuple[int, ...]
    """B_l·q_l / a, below q_l / 2."""

    @property
    def polynomials(self) -> int:
        """How many polynomials the family has."""
        return 1 << (len(self.primes) - 1)

    def b(self, index: int) -> int:
        """Return b of polynomial `index`: B_l is subtracted where bit l of its Gray code is set."""
        gray = index ^ (index >> 1)
        return sum(-part if gray >> place & 1 else part for place, part in enumerate(self.parts))


class _Pools(NamedTuple):
    """Indices of the factor base that a is made of."""

    primes: tuple[int, ...]
    target: int
    common: tuple[int, ...]
    """Pool A."""
    last: tuple[int, ...]
    """Pool B, ascending."""
    count: int


def count(n: int, parameters: Parameters) -> int:
    """Return how many a-indices there are, counted from 0."""
    return _pools(n, parameters).count


@lru_cache(maxsize=1024)
def family(n: int, parameters: Parameters, index: int) -> Family:
    """Return the polynomials of an a-index.

    Raises:
        IndexError: there is no such index.
    """
    pools = _pools(n, parameters)
    if not 0 <= index < pools.count:
        raise IndexError(f"a-index {index} is not below {pools.count}")
    chosen = [
        pools.common[place]
        for place in _subset(_permuted(index, pools.count), len(pools.common), parameters.a_factors - 1)
    ]
    product = 1
    for one in chosen:
        product *= pools.primes[one]
    chosen.append(_nearest(pools, pools.target // product))
    indices = tuple(sorted(chosen))
    primes = tuple(pools.primes[one] for one in indices)
    a = 1
    for prime in primes:
        a *= prime
    kn = n * parameters.multiplier
    parts, gammas = [], []
    for prime in primes:
        rest = a // prime
        gamma = square_root(kn % prime, prime) * int(gmpy2.invert(rest, prime)) % prime
        gamma = min(gamma, prime - gamma)
        gammas.append(gamma)
        parts.append(gamma * rest)
    return Family(a, indices, primes, tuple(parts), tuple(gammas))


def _nearest(pools: _Pools, wanted: int) -> int:
    """Return the prime of pool B that is nearest to a value."""
    place = bisect_left(pools.last, wanted, key=pools.primes.__getitem__)
    around = pools.last[max(0, place - 1) : place + 1]
    return min(around, key=lambda one: abs(pools.primes[one] - wanted))


@lru_cache(maxsize=8)
def _pools(n: int, parameters: Parameters) -> _Pools:
    """Return pool A around the ideal size of a prime of a, every second one, and pool B around it."""
    kn = n * parameters.multiplier
    primes = factor_base.first(kn, parameters.base)
    target = isqrt(2 * kn) // (parameters.blocks * BLOCK // 2)
    size = parameters.a_factors
    ideal = gmpy2.log(target) / size
    usable = [i for i in range(2, len(primes)) if kn % primes[i] and primes[i] >= LEAST]
    usable.sort(key=lambda i: abs(gmpy2.log(primes[i]) - ideal))
    width = size
    while comb(width, size - 1) < ENOUGH and 4 * width < len(usable):
        width += 1
    common = sorted(usable[: 2 * width])[::2]
    last = sorted(set(usable[: max(8 * width, 100)]) - set(common))
    return _Pools(primes, target, tuple(common), tuple(last), comb(len(common), size - 1))


def _permuted(index: int, total: int) -> int:
    """Return a permutation of the indices that takes neighbours far apart: golden steps."""
    step = int(total * 0.618033988749895) | 1
    while gcd(step, total) > 1:
        step += 1
    return index * step % total


def _subset(rank: int, size: int, chosen: int) -> list[int]:
    """Return subset number `rank` of those with `chosen` of `size` elements, lexicographically."""
    places, place = [], 0
    while chosen:
        with_this = comb(size - place - 1, chosen - 1)
        if rank < with_this:
            places.append(place)
            chosen -= 1
        else:
            rank -= with_this
        place += 1
    return places


def square_root(value: int, prime: int) -> int:
    """Return a square root modulo an odd prime, after Tonelli and Shanks; value is a residue or 0."""
    if value == 0:
        return 0
    if prime % 4 == 3:
        return pow(value, (prime + 1) // 4, prime)
    odd, twos = prime - 1, 0
    while odd % 2 == 0:
        odd //= 2
        twos += 1
    other = 2
    while gmpy2.legendre(other, prime) != -1:
        other += 1
    unit, root, rest = pow(other, odd, prime), pow(value, (odd + 1) // 2, prime), pow(value, odd, prime)
    while rest != 1:
        square, order = rest, 0
        while square != 1:
            square = square * square % prime
            order += 1
        factor = pow(unit, 1 << (twos - order - 1), prime)
        root, unit, twos = root * factor % prime, factor * factor % prime, order
        rest = rest * unit % prime
    return root
