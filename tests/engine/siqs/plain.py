"""A plain quadratic sieve in a few slow lines: an independent source of relations for tests."""

from typing import NamedTuple

import gmpy2
import numpy as np

from factor_worker.engine.siqs.solve.sparse import Rows, from_lengths
from factor_worker.engine.siqs.solve.square_root import Congruences
from factor_worker.engine.siqs.words.arithmetic import to_limbs


class Plain(NamedTuple):
    """Relations x² - n = ± ∏ primes · large primes, one polynomial, trial division throughout."""

    n: int
    primes: list[int]
    x: list[int]
    relations: Congruences


def sieve(n: int, base: int, half_interval: int, large_bound: int) -> Plain:
    """Find all relations with |x - √n| ≤ reach over `base` primes and at most two large primes.

    All large primes are at most `large_bound`; n is at most about 10^18, so that 64 bits suffice.
    """
    primes = _factor_base(n, base)
    root = int(gmpy2.isqrt(n))
    x = np.arange(root - half_interval, root + half_interval, dtype=np.int64)
    rest = np.array([value * value - n for value in x.tolist()], dtype=np.int64)
    lists: list[list[int]] = [[0] if value < 0 else [] for value in rest.tolist()]
    rest = abs(rest)
    for index, prime in enumerate(primes[1:], start=1):
        while len(hits := np.flatnonzero(rest % prime == 0)):
            rest[hits] //= prime
            for hit in hits.tolist():
                lists[hit].append(index)
    large = [_large_primes(value, primes[-1], large_bound) for value in rest.tolist()]
    good = [index for index, pair in enumerate(large) if pair]
    kept = x[good].tolist()
    factors = [lists[index] for index in good]
    return Plain(
        n,
        primes,
        kept,
        Congruences(
            np.stack([to_limbs(value, 2) for value in kept]),
            Rows(
                from_lengths(np.array([len(one) for one in factors], dtype=np.int64)),
                np.array([index for one in factors for index in one], dtype=np.uint32),
            ),
            np.array([large[index] for index in good], dtype=np.uint64).reshape(-1, 2),
        ),
    )


def _factor_base(n: int, size: int) -> list[int]:
    primes = [-1, 2]
    candidate = 3
    while len(primes) < size:
        if gmpy2.is_prime(candidate) and gmpy2.kronecker(n, candidate) == 1:
            primes.append(candidate)
        candidate += 2
    return primes


def _large_primes(rest: int, biggest: int, bound: int) -> tuple[int, int] | None:
    if rest <= bound and (rest == 1 or rest < biggest * biggest):
        return (1, rest)
    if biggest * biggest < rest <= bound * bound and not gmpy2.is_prime(rest):
        for divisor in range(biggest, bound + 1, 2):
            if rest % divisor == 0 and rest // divisor <= bound:
                return (divisor, rest // divisor)
    return None
