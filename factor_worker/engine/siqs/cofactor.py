"""Cofactors: is a word composite, and which two primes is it the product of."""

from typing import Final

import numpy as np
from numba import njit

from factor_worker.engine.siqs.arithmetic import (
    ONE,
    TOP_BIT,
    ZERO,
    Word,
    high,
    trailing_zeros,
)

BATCH: Final = 64
"""Steps of Pollard's rho between two greatest common divisors."""
ATTEMPTS: Final = 8
LONGEST: Final = 1 << 17
"""Steps of one attempt; factors of 32 bits take about 2^16."""


@njit(cache=True)
def word_inverse(n: Word) -> Word:
    """Return the inverse of an odd word modulo 2^64."""
    inverse = n
    for _ in range(5):
        inverse *= np.uint64(2) - n * inverse
    return inverse


@njit(cache=True)
def product(left: Word, right: Word, n: Word, inverse: Word) -> Word:
    """Return left · right / 2^64 modulo an odd n < 2^63 (Montgomery 1985); both are below n."""
    upper = high(left, right)
    lower = high(left * right * inverse, n)
    return upper - lower + (n if upper < lower else ZERO)


@njit(cache=True)
def is_composite(n: Word) -> bool:
    """Say whether 2 proves an odd word below 2^63 composite (Fermat); a pseudoprime passes for a prime."""
    inverse = word_inverse(n)
    one = (ZERO - n) % n
    power = one
    exponent = n - ONE
    bit = TOP_BIT
    while exponent >> bit == ZERO:
        bit -= ONE
    while True:
        power = product(power, power, n, inverse)
        if exponent >> bit & ONE:
            power += power
            power -= n if power >= n else ZERO
        if bit == ZERO:
            return bool(power != one)
        bit -= ONE


@njit(cache=True)
def _gcd(left: Word, right: Word) -> Word:
    """Return the greatest common divisor of a word and an odd word."""
    while left:
        left >>= trailing_zeros(left)
        if left < right:
            left, right = right, left
        left -= right
    return right


@njit(cache=True)
def split(n: Word) -> Word:
    """Return a nontrivial divisor of an odd composite word below 2^63, or 1 if none was found.

    Pollard's rho in Brent's form (1980). It is deterministic.
    """
    inverse = word_inverse(n)
    for attempt in range(ATTEMPTS):
        constant = np.uint64(attempt + 1)
        slow = fast = start = np.uint64(2)
        accumulated = ONE
        length = 1
        while length < LONGEST:
            slow = fast
            done = 0
            while done < length:
                start = fast
                steps = min(BATCH, length - done)
                accumulated = ONE
                for _ in range(steps):
                    fast = product(fast, fast, n, inverse) + constant
                    fast -= n if fast >= n else ZERO
                    difference = slow - fast if slow > fast else fast - slow
                    accumulated = product(accumulated, difference, n, inverse)
                divisor = _gcd(accumulated, n)
                if divisor != ONE:
                    if divisor == n:
                        divisor = _step_by_step(slow, start, n, inverse, constant)
                    if divisor != n:
                        return divisor
                    length = LONGEST  # all factors at once: another constant
                    break
                done += steps
            length *= 2
    return ONE


@njit(cache=True)
def _step_by_step(slow: Word, fast: Word, n: Word, inverse: Word, constant: Word) -> Word:
    """Repeat a batch in which several factors appeared, one step at a time."""
    while True:
        fast = product(fast, fast, n, inverse) + constant
        fast -= n if fast >= n else ZERO
        divisor = _gcd(slow - fast if slow > fast else fast - slow, n)
        if divisor != ONE:
            return divisor
