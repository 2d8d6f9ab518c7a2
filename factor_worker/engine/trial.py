"""Trial division by all small primes, as greatest common divisors with products of many primes."""

import functools
import math
from itertools import compress
from typing import Final, NamedTuple

import gmpy2

from factor_worker.engine.parts import require_above_one

LIMIT: Final = 1_000_000
"""Primes below this are divided out by default; that takes 2 ms for 1 000 digits."""
_PRIMES_PER_BATCH = 512


class _PrimeBatch(NamedTuple):
    """Consecutive primes and their product."""

    primes: tuple[int, ...]
    product: int


def divide(n: int, *, limit: int = LIMIT) -> tuple[list[tuple[int, int]], int]:
    """Return the primes below `limit` that divide n >= 2, with exponents, and the cofactor.

    A cofactor below `limit` squared is prime, or 1.

    Raises:
        ValueError: n is below 2.
    """
    require_above_one(n)
    cofactor = gmpy2.mpz(n)
    found: list[tuple[int, int]] = []
    for batch in _batches(limit):
        common = gmpy2.gcd(cofactor, batch.product)
        if common == 1:
            continue
        for prime in batch.primes:
            if common % prime == 0:
                cofactor, exponent = gmpy2.remove(cofactor, prime)
                found.append((prime, int(exponent)))
                common //= prime
                if common == 1:
                    break
    return found, int(cofactor)


@functools.cache
def _batches(limit: int) -> tuple[_PrimeBatch, ...]:
    primes = primes_below(limit)
    starts = range(0, len(primes), _PRIMES_PER_BATCH)
    chunks = [tuple(primes[start : start + _PRIMES_PER_BATCH]) for start in starts]
    return tuple(_PrimeBatch(chunk, gmpy2.mpz(math.prod(chunk))) for chunk in chunks)


def primes_below(limit: int) -> list[int]:
    """Return the primes below `limit`, ascending, by the sieve of Eratosthenes."""
    is_prime = bytearray([0, 0]) + bytearray([1]) * (limit - 2)
    for p in range(2, math.isqrt(max(limit - 1, 0)) + 1):
        if is_prime[p]:
            is_prime[p * p :: p] = bytes(len(range(p * p, limit, p)))
    return list(compress(range(limit), is_prime))
