"""Aurifeuillian factors: cyclotomic values that are a difference of two squares, as 2^(4k+2) + 1 is.

For squarefree k there are polynomials C and D with Phi_m(x) = C(x)^2 - k x D(x)^2, where m = k if
k = 1 mod 4 and m = 2k otherwise. Where k x is a square, this is a difference of two squares and splits
(Lucas 1878; Schinzel 1962).
"""

import functools
import math

import gmpy2
from flint import fmpz


def pieces(base: int, index: int, value: int) -> tuple[int, ...]:
    """Return `value`, which is Phi_index(base), as two Aurifeuillian factors if it has them, else alone.

    `base` must be no perfect power: otherwise its squarefree part could be 1.
    """
    k = _squarefree_part(base, index)
    order = k if k % 4 == 1 else 2 * k
    if k == 1 or index % order or index // order % 2 == 0:
        return (value,)
    # Phi_index(base) divides Phi_order(x) for this x; each of its two factors has a part of it.
    x = gmpy2.mpz(base) ** (index // order)
    c, d = lucas_polynomials(k)
    factor = _evaluate(c, x) - gmpy2.isqrt(k * x) * _evaluate(d, x)
    common = int(gmpy2.gcd(value, factor))
    return (common, value // common)


def _squarefree_part(base: int, index: int) -> int:
    """Return the smallest k > 1 that divides `index` and makes k * base a square, or 1 if there is none."""
    for k in range(2, min(base, index) + 1):
        if index % k == 0 and gmpy2.is_square(k * base):
            return k
    return 1


def _evaluate(coefficients: tuple[int, ...], x: int) -> int:
    """Return the value of a polynomial, its coefficients given from the highest power down (Horner)."""
    return functools.reduce(lambda total, c: total * x + c, coefficients, 0)


@functools.lru_cache(maxsize=32)
def lucas_polynomials(k: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the coefficients of C and D for a squarefree k > 1, from the highest power down.

    Newton's identities give them from power sums that are known in closed form. Source: Brent, "On
    computing factors of cyclotomic polynomials", Math. Comp. 61 (1993), algorithm L.
    """
    order = k if k % 4 == 1 else 2 * k
    degree = int(fmpz(order).euler_phi()) // 2
    sums = [0] + [_power_sum(k, order, j) for j in range(1, degree + 2)]
    c, d = [1], [1]
    for i in range(1, degree // 2 + 1):
        total = sum(k * sums[2 * (i - j) - 1] * d[j] - sums[2 * (i - j)] * c[j] for j in range(i))
        c.append(total // (2 * i))
        total = c[i] + sum(
            sums[2 * (i - j) + 1] * c[j] - sums[2 * (i - j)] * d[j] for j in range(i)
        )
        d.append(total // (2 * i + 1))
    return _palindrome(c, degree + 1), _palindrome(d, degree)


def _power_sum(k: int, order: int, j: int) -> int:
    """Return Brent's power sum q_j: a Jacobi symbol for odd j, a signed Ramanujan sum for even j."""
    if j % 2:
        return int(gmpy2.jacobi(k, j))
    common = math.gcd(j, order)
    cosine = (1, 0, -1, 0)[(k - 1) * j // 2 % 4]
    return int(fmpz(order // common).moebius_mu()) * int(fmpz(common).euler_phi()) * cosine


def _palindrome(first_half: list[int], length: int) -> tuple[int, ...]:
    """Return all coefficients of a palindromic polynomial, given the first half of them."""
    head = first_half[: (length + 1) // 2]
    return tuple(head + head[: length // 2][::-1])
