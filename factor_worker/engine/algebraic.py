"""Algebraic factors: b^n - 1 and b^n + 1 fall into cyclotomic values before any search begins."""

import math

import gmpy2

from factor_worker.engine import aurifeuillian, powers

_SMALLEST = 5  # 2, 3 and 4 have no algebraic factors


def pieces(n: int) -> tuple[int, ...]:
    """Return numbers above 1 whose product is n >= 2, ascending; (n,) if n is not of such a form.

    The pieces may be composite, and may share small primes, those that divide the exponent.
    """
    form = recognise(n)
    if form is None:
        return (n,)
    base, exponent, sign = form
    found: list[int] = []
    for index, value in _cyclotomic_values(base, exponent, sign).items():
        found += aurifeuillian.pieces(base, index, value)
    return tuple(sorted(piece for piece in found if piece > 1))


def recognise(n: int) -> tuple[int, int, int] | None:
    """Return (b, k, s) with n = b^k + s, s = -1 or 1 and the largest possible k > 1, or None."""
    if n < _SMALLEST:
        return None
    for sign in (-1, 1):
        base, exponent = powers.perfect_power(n - sign)
        if exponent > 1:
            return base, exponent, sign
    return None


def divisors(n: int) -> list[int]:
    """Return the positive divisors of a small n, ascending."""
    low = [d for d in range(1, math.isqrt(n) + 1) if n % d == 0]
    return low + [n // d for d in reversed(low) if d * d != n]


def _cyclotomic_values(base: int, exponent: int, sign: int) -> dict[int, int]:
    """Return the cyclotomic values Phi_d(base), by d, whose product is base^exponent + sign.

    x^k - 1 is the product of Phi_d(x) over all d that divide k, and x^k + 1 that over all d that divide
    2k and not k.
    """
    top = exponent if sign < 0 else 2 * exponent
    values: dict[int, int] = {}
    for d in divisors(top):
        lower = math.prod((values[c] for c in values if d % c == 0), start=gmpy2.mpz(1))
        values[d] = (gmpy2.mpz(base) ** d - 1) // lower
    return {d: int(v) for d, v in values.items() if sign < 0 or exponent % d}
