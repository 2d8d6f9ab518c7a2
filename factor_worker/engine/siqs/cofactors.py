"""Splitting what is left of a value into two large primes."""

from typing import Final

import numpy as np
from numba import njit

from factor_worker.engine.siqs.limbs import high, trailing_zeros

STEPS: Final = 4096
"""Values of the iteration that are tried: enough for factors of 32 bits."""
BATCH: Final = 32
"""Differences that are multiplied before a gcd is taken."""


@njit(cache=True)
def _product(left: np.uint64, right: np.uint64, n: np.uint64, inverse: np.uint64) -> np.uint64:
    """Return left·right / 2^64 modulo n (Montgomery 1985); `inverse` is that of n modulo 2^64."""
    low = left * right
    top = high(left, right)
    away = high(low * inverse, n)
    return top - away if top >= away else top - away + n


@njit(cache=True)
def _inverse(n: np.uint64) -> np.uint64:
    inverse = n
    for _ in range(6):
        inverse *= np.uint64(2) - n * inverse
    return inverse


@njit(cache=True)
def _gcd(left: np.uint64, right: np.uint64) -> np.uint64:
    """Return the gcd with an odd number."""
    if left == np.uint64(0):
        return right
    left >>= trailing_zeros(left)
    while left != right:
        if left > right:
            left -= right
            left >>= trailing_zeros(left)
        else:
            right -= left
            right >>= trailing_zeros(right)
    return left


@njit(cache=True)
def is_probable_prime(n: np.uint64) -> bool:
    """Apply Fermat's test to base 2, for odd n > 1."""
    inverse = _inverse(n)
    one = (np.uint64(0) - n) % n
    power = one
    exponent = n - np.uint64(1)
    for place in range(63, -1, -1):
        power = _product(power, power, n, inverse)
        if (exponent >> np.uint64(place)) & np.uint64(1):
            power = power - (n - power) if power >= n - power else power + power
    return power == one


@njit(cache=True)
def split(n: np.uint64) -> np.uint64:
    """Return a nontrivial divisor of an odd composite n, or 0 if n is probably prime or resists.

    Source: Brent, "An improved Monte Carlo factorization algorithm" (1980).
    """
    if is_probable_prime(n):
        return np.uint64(0)
    inverse = _inverse(n)
    one = (np.uint64(0) - n) % n
    for constant in range(1, 4):
        plus = np.uint64(constant)
        slow = one
        fast = one
        reach = 1
        done = 0
        while done < STEPS:
            slow = fast
            tried = 0
            while tried < reach:
                back = fast
                product = one
                span = min(BATCH, reach - tried)
                for _ in range(span):
                    fast = _product(fast, fast, n, inverse)
                    fast = fast + plus if fast < n - plus else fast - (n - plus)
                    product = _product(product, slow - fast if slow > fast else fast - slow, n, inverse)
                common = _gcd(product, n)
                if common != np.uint64(1):
                    if common != n:
                        return common
                    for _ in range(span):
                        back = _product(back, back, n, inverse)
                        back = back + plus if back < n - plus else back - (n - plus)
                        common = _gcd(slow - back if slow > back else back - slow, n)
                        if common != np.uint64(1):
                            break
                    if common != n:
                        return common
                    done = STEPS
                    break
                tried += span
            done += reach
            reach *= 2
    return np.uint64(0)
