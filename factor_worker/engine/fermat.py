"""Fermat's method: a product of two numbers close together is a difference of two squares."""

from typing import Final

import gmpy2

STEPS: Final = 4_000
"""Two primes close together are the commonest weak key; trying this many steps takes milliseconds."""


def divisor(n: int, *, steps: int = STEPS) -> int | None:
    """Return a divisor d of an odd n with 1 < d <= n/d, or None if there is none near the square root."""
    a = gmpy2.isqrt(n)
    if a * a < n:
        a += 1
    square = a * a - n
    for _ in range(steps):
        if gmpy2.is_square(square):
            found = int(a - gmpy2.isqrt(square))
            return found if 1 < found < n else None
        square += 2 * a + 1
        a += 1
    return None
