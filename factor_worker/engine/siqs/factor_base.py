"""The factor base: the primes that values of the sieve's polynomials can be divisible by."""

from functools import lru_cache
from typing import Final

import gmpy2
import numpy as np
import numpy.typing as npt

from factor_worker.engine.siqs.parameters import Parameters

MINUS_ONE: Final = 0
"""Index that stands for the sign; index 1 is 2, the odd primes follow."""


def primes(n: int, parameters: Parameters) -> list[int]:
    """Return -1, 2 and the odd primes modulo which kN is a square, ascending: the matrix's columns."""
    return list(first(n * parameters.multiplier, parameters.base))


@lru_cache(maxsize=8)
def first(kn: int, size: int) -> tuple[int, ...]:
    """Return the first `size` entries of the factor base of kN."""
    found = [-1, 2]
    limit = 64 + 4 * size
    while True:
        for prime in _primes_up_to(limit)[len(found) and 1 :].tolist():
            if prime > found[-1] and gmpy2.legendre(kn, prime) >= 0:
                found.append(prime)
                if len(found) >= size:
                    return tuple(found)
        limit *= 8


def _primes_up_to(limit: int) -> npt.NDArray[np.int64]:
    """Return all primes up to a limit, by Eratosthenes's sieve."""
    is_prime = np.ones(limit + 1, dtype=bool)
    is_prime[:2] = False
    for candidate in range(2, int(limit**0.5) + 1):
        if is_prime[candidate]:
            is_prime[candidate * candidate :: candidate] = False
    return np.flatnonzero(is_prime)
