"""Polynomials: from an a-index to the leading coefficient a and the square roots of kn modulo 4a.

A polynomial is Q(x) = ((2ax + b)² - kn) / 4a with a a product of primes of the base, b odd and
b² ≡ kn (mod 4a). Each index has its own a: the index is permuted and unranked to a subset of
pool A, and one prime of pool B, which has none in common with pool A, brings a near its ideal.
(Contini 1997, "Factoring integers with the self-initializing quadratic sieve", for the b's.)
"""

import bisect
import math
from functools import lru_cache
from typing import Final, NamedTuple

import gmpy2

from factor_worker.engine.siqs.polynomials import factor_base
from factor_worker.engine.siqs.polynomials.parameters import Parameters

POOL: Final = 30
"""Primes in pool A: hundreds of subsets for the smallest numbers, millions from 60 digits on."""
LARGEST_SHARE: Final = 4
"""Pool A is at most 1 / `LARGEST_SHARE` of the base."""
GOLDEN: Final = 0.618034
WIDEST: Final = 4
"""Primes of pool B are up to so many times larger or smaller than the mean prime of a."""
SMALLEST: Final = 11
"""Primes of a are no smaller."""


class Pools(NamedTuple):
    """Where the primes of all a's come from: indices into the factor base, ascending."""

    base: list[int]
    """The primes of the whole base, by index."""
    subset: list[int]
    """Pool A, of which each a takes all its primes but one."""
    last: list[int]
    """Pool B, of which each a takes one."""
    take: int
    """Primes of pool A in each a."""
    ideal: int
    """The best a."""

    @property
    def total(self) -> int:
        """How many a's there are."""
        return math.comb(len(self.subset), self.take)


class Polynomials(NamedTuple):
    """One a with all its b's."""

    indices: tuple[int, ...]
    """Positions of the primes of a in the factor base, the one from pool B last."""
    primes: tuple[int, ...]
    a: int
    gammas: tuple[int, ...]
    """B_l = gamma_l · a / q_l."""
    parts: tuple[int, ...]
    """B_l, with B_l² ≡ kn (mod q_l) and B_l ≡ 0 modulo the other primes."""
    b: int
    """The sum of all B_l, plus a if that makes it odd."""
    shifted: bool
    """Whether a was added."""

    @property
    def size(self) -> int:
        """How many polynomials there are."""
        return 1 << (len(self.parts) - 1)

    def b_of(self, number: int) -> int:
        """Return b of one polynomial: minus B_l where bit l of the number's Gray code is set."""
        gray = number ^ (number >> 1)
        minus = sum(part for place, part in enumerate(self.parts) if gray >> place & 1)
        return self.b - 2 * minus


def total(n: int, parameters: Parameters) -> int:
    """Return how many a's there are: indices run from 0 to this, without it."""
    return pools(n, parameters).total


@lru_cache(maxsize=4)
def pools(n: int, parameters: Parameters) -> Pools:
    """Return the pools for a number."""
    base = factor_base.primes(n, parameters)
    number = n * parameters.multiplier
    ideal = math.isqrt(number // 2) // parameters.reach
    centre = int(gmpy2.iroot(ideal, parameters.factors)[0])
    usable = [i for i, p in enumerate(base) if p >= SMALLEST and number % p]
    middle = bisect.bisect([base[i] for i in usable], centre)
    take = parameters.factors - 1
    size = min(POOL, len(usable) // LARGEST_SHARE)
    # every third prime of the window belongs to pool B, so that it has primes of every size
    start = max(0, min(middle - size * 3 // 4, len(usable) - size * 3 // 2))
    window = usable[start : start + size * 3 // 2]
    subset = [one for place, one in enumerate(window) if place % 3 != 1][:size]
    chosen = set(subset)
    near = range(centre // WIDEST, centre * WIDEST)
    last = [i for i in usable if i not in chosen and base[i] in near]
    return Pools(base, subset, last, take, ideal)


def at(n: int, parameters: Parameters, index: int) -> Polynomials:
    """Return the polynomials of one a-index.

    Raises:
        IndexError: there is no such index.
    """
    chosen = pools(n, parameters)
    if not 0 <= index < chosen.total:
        message = f"a-indices are 0 to {chosen.total - 1}, not {index}"
        raise IndexError(message)
    indices = _primes_of_a(chosen, index)
    primes = tuple(chosen.base[one] for one in indices)
    roots = factor_base.table(n, parameters).roots
    a = math.prod(primes)
    gammas = []
    for one, q in zip(indices, primes, strict=True):
        gamma = int(roots[one]) * pow(a // q, -1, q) % q
        gammas.append(min(gamma, q - gamma))
    parts = tuple(gamma * (a // q) for gamma, q in zip(gammas, primes, strict=True))
    b = sum(parts)
    shifted = b % 2 == 0
    return Polynomials(indices, primes, a, tuple(gammas), parts, b + a * shifted, shifted)


def _primes_of_a(chosen: Pools, index: int) -> tuple[int, ...]:
    """Return the indices of the primes of a; different for every index."""
    count = chosen.total
    subset = _unrank(index * _stride(count) % count, len(chosen.subset), chosen.take)
    indices = [chosen.subset[place] for place in subset]
    wanted = chosen.ideal // math.prod(chosen.base[one] for one in indices)
    right = bisect.bisect(chosen.last, wanted, key=chosen.base.__getitem__)
    near = chosen.last[max(right - 1, 0) : right + 1]
    lower, upper = near[0], near[-1]
    # the one whose ratio to the wanted prime is nearer to 1, in whole numbers
    is_lower = wanted * wanted < chosen.base[lower] * chosen.base[upper]
    return (*indices, lower if is_lower else upper)


@lru_cache(maxsize=4)
def _stride(count: int) -> int:
    """Return a step, prime to the count, that spreads successive indices over all subsets."""
    step = max(1, int(count * GOLDEN))
    while math.gcd(step, count) != 1:
        step += 1
    return step


def _unrank(rank: int, items: int, take: int) -> list[int]:
    """Return the subset of so many of the items that has this rank in the combinatorial number system."""
    subset = []
    for place in range(take, 0, -1):
        items -= 1
        while (below := math.comb(items, place)) > rank:
            items -= 1
        rank -= below
        subset.append(items)
    return subset
