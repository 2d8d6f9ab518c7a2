"""Perfect powers: the square of a hard number is as easy as its root once it is recognised."""

import gmpy2

from factor_worker.engine.parts import require_above_one


def perfect_power(n: int) -> tuple[int, int]:
    """Return (root, exponent) with root ** exponent == n >= 2 and the largest possible exponent.

    A number that is no perfect power is its own root, with exponent 1.

    Raises:
        ValueError: n is below 2.
    """
    require_above_one(n)
    root, exponent = gmpy2.mpz(n), 1
    while gmpy2.is_power(root):
        root, prime = _prime_root(root)
        exponent *= prime
    return int(root), exponent


def _prime_root(n: int) -> tuple[int, int]:
    """Return (root, p) with root ** p == n for the smallest such prime p; n is a perfect power."""
    p = 2
    while True:
        root, exact = gmpy2.iroot(n, p)
        if exact:
            return root, p
        p = int(gmpy2.next_prime(p))
