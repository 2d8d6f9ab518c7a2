"""The polynomials of the self-initialising quadratic sieve: from an a-index to a, its B_l and its b's.

A polynomial is Q(x) = ((2ax + b)² - kn) / 4a, where the a-coefficient is a product of primes of the
factor base, b is odd and b² ≡ kn (mod 4a). Each a has a family of polynomials that differ in b only.

Workers sieve ranges of a-indices without talking to each other, so distinct indices must have distinct
a's. An index is permuted and unranked to a subset of pool A, and one prime of pool B, which is disjoint
from pool A, brings a as close as possible to its ideal √(kn/2) / M.

Source for the b's and the Gray code: Contini, "Factoring integers with the self-initializing quadratic
sieve" (1997).
"""

import bisect
import math
from functools import lru_cache
from typing import Final, NamedTuple

import gmpy2

from factor_worker.engine.siqs.polynomials import factor_base
from factor_worker.engine.siqs.polynomials.parameters import Parameters

POOL_A_SIZE: Final = 30
"""Primes in pool A: hundreds of subsets for the smallest numbers, millions from 60 digits on."""
POOL_A_SHARE: Final = 4
"""Pool A takes at most 1 / `POOL_A_SHARE` of the factor base."""
GOLDEN_RATIO: Final = 0.618034
POOL_B_RANGE: Final = 4
"""Primes of pool B are at most this many times larger or smaller than the mean prime of a."""
SMALLEST_A_PRIME: Final = 11
"""Smaller primes never divide a: the sieve would lose too many hits."""


class Pools(NamedTuple):
    """Where the primes of every a come from. Pools hold indices into the factor base, ascending."""

    base: list[int]
    """The factor base."""
    pool_a: list[int]
    """Every a takes all its primes but one from here."""
    pool_b: list[int]
    """Every a takes its last prime from here."""
    take: int
    """How many primes of pool A each a has."""
    ideal: int
    """The a that would give the smallest values, √(kn/2) / M."""

    @property
    def a_count(self) -> int:
        """How many a's there are."""
        return math.comb(len(self.pool_a), self.take)


class Family(NamedTuple):
    """One a with all its b's, hence 2^(s - 1) polynomials for s primes of a."""

    a_factors: tuple[int, ...]
    """The primes q_l of a as indices into the factor base, the one from pool B last."""
    a_primes: tuple[int, ...]
    """The primes q_l themselves, in the same order."""
    a: int
    gammas: tuple[int, ...]
    """B_l = gamma_l · a / q_l."""
    b_terms: tuple[int, ...]
    """B_l, with B_l² ≡ kn (mod q_l) and B_l ≡ 0 modulo the other primes of a."""
    b: int
    """The first b: the sum of all B_l, plus a if that makes it odd."""
    shifted: bool
    """Whether a was added."""

    @property
    def size(self) -> int:
        """How many polynomials there are."""
        return 1 << (len(self.b_terms) - 1)

    def b_of(self, number: int) -> int:
        """Return the b of polynomial `number`: B_l counts negative where its Gray code has bit l."""
        gray = number ^ (number >> 1)
        negative = sum(term for place, term in enumerate(self.b_terms) if gray >> place & 1)
        return self.b - 2 * negative


def a_count(n: int, parameters: Parameters) -> int:
    """Return how many a's there are: a-indices run from 0 to `a_count` - 1."""
    return pools_of(n, parameters).a_count


@lru_cache(maxsize=4)
def pools_of(n: int, parameters: Parameters) -> Pools:
    """Return the pools from which the primes of a are drawn."""
    base = factor_base.primes(n, parameters)
    kn = n * parameters.multiplier
    ideal = math.isqrt(kn // 2) // parameters.half_interval
    centre = int(gmpy2.iroot(ideal, parameters.factors)[0])
    usable = [i for i, p in enumerate(base) if p >= SMALLEST_A_PRIME and kn % p]
    middle = bisect.bisect([base[i] for i in usable], centre)
    take = parameters.factors - 1
    size = min(POOL_A_SIZE, len(usable) // POOL_A_SHARE)
    # Every third prime of the window is left to pool B, so that it has primes of every size.
    start = max(0, min(middle - size * 3 // 4, len(usable) - size * 3 // 2))
    window = usable[start : start + size * 3 // 2]
    pool_a = [index for place, index in enumerate(window) if place % 3 != 1][:size]
    taken = set(pool_a)
    near = range(centre // POOL_B_RANGE, centre * POOL_B_RANGE)
    pool_b = [i for i in usable if i not in taken and base[i] in near]
    return Pools(base, pool_a, pool_b, take, ideal)


def family(n: int, parameters: Parameters, a_index: int) -> Family:
    """Return the polynomials of one a-index.

    Raises:
        IndexError: there is no such index.
    """
    pools = pools_of(n, parameters)
    if not 0 <= a_index < pools.a_count:
        message = f"a-indices are 0 to {pools.a_count - 1}, not {a_index}"
        raise IndexError(message)
    a_factors = _primes_of_a(pools, a_index)
    a_primes = tuple(pools.base[index] for index in a_factors)
    roots = factor_base.of(n, parameters).roots
    a = math.prod(a_primes)
    gammas = []
    for index, q in zip(a_factors, a_primes, strict=True):
        gamma = int(roots[index]) * pow(a // q, -1, q) % q
        gammas.append(min(gamma, q - gamma))
    b_terms = tuple(gamma * (a // q) for gamma, q in zip(gammas, a_primes, strict=True))
    b = sum(b_terms)
    shifted = b % 2 == 0
    return Family(a_factors, a_primes, a, tuple(gammas), b_terms, b + a * shifted, shifted)


def _primes_of_a(pools: Pools, a_index: int) -> tuple[int, ...]:
    """Return the primes of a as indices into the factor base; no two a-indices have the same."""
    count = pools.a_count
    subset = _unrank(a_index * _stride(count) % count, len(pools.pool_a), pools.take)
    a_factors = [pools.pool_a[place] for place in subset]
    wanted = pools.ideal // math.prod(pools.base[index] for index in a_factors)
    right = bisect.bisect(pools.pool_b, wanted, key=pools.base.__getitem__)
    near = pools.pool_b[max(right - 1, 0) : right + 1]
    lower, upper = near[0], near[-1]
    # Of the two, take the prime whose ratio to the wanted one is closer to 1, in whole numbers.
    is_lower = wanted * wanted < pools.base[lower] * pools.base[upper]
    return (*a_factors, lower if is_lower else upper)


@lru_cache(maxsize=4)
def _stride(count: int) -> int:
    """Return a step, coprime to `count`, that spreads successive a-indices over all subsets.

    Multiplying by it permutes the indices: successive a's then differ in most of their primes.
    """
    step = max(1, int(count * GOLDEN_RATIO))
    while math.gcd(step, count) != 1:
        step += 1
    return step


def _unrank(rank: int, items: int, take: int) -> list[int]:
    """Return the `take`-subset of range(items) with this rank in the combinatorial number system."""
    subset = []
    for place in range(take, 0, -1):
        items -= 1
        while (below := math.comb(items, place)) > rank:
            items -= 1
        rank -= below
        subset.append(items)
    return subset
