"""Cofactors: what trial division leaves of a value, and how it splits into one or two large primes.

A cofactor of two large primes is split by elliptic curves, some 10 µs each. All words are below 2^63. On
the curves they are in Montgomery form: the word a stands for a·2^-64 modulo n (Montgomery 1985).
"""

from typing import Final

import numpy as np
from numba import njit

from factor_worker.engine.siqs.words.arithmetic import (
    ONE,
    TOP_BIT,
    ZERO,
    Word,
    modular_inverse,
    multiply_high,
    trailing_zeros,
    word_inverse,
)
from factor_worker.engine.siqs.words.arrays import Limbs

STAGE_1_POWERS: Final = (64, 81, 25, 49, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61)
"""Stage 1: the powers of all primes up to B1 = 61 that the point is multiplied by."""
BABY_STEPS: Final = (1, 7, 11, 13, 17, 19, 23, 29)
"""Stage 2: its primes are multiples of 60, plus or minus one of these ..."""
GIANT_STEPS: Final = 28
"""... up to B2 = 60 · 28 + 29."""
CURVES: Final = 64
"""Curves before a number is given up. Two or three are enough for factors of 32 bits, on average."""
FIRST_SIGMA: Final = 6
"""Suyama's parametrization degenerates for smaller ones."""

Modulus = tuple[Word, Word]
"""n and its inverse modulo 2^64."""
Point = tuple[Word, Word]
"""The projective coordinates x and z on a curve in Montgomery's form, By² = x³ + Ax² + x."""


@njit(cache=True)
def smaller_large_prime(cofactor: Word, bounds: tuple[Word, Word, Word]) -> Word:
    """Return the smaller of a cofactor's two large primes, or 0 if the cofactor is useless.

    The answer is 1 if there is at most one large prime, which is then the cofactor itself. `bounds` are
    the largest prime of the factor base, the largest large prime and the largest product of two.
    """
    largest, large_bound, cofactor_bound = bounds
    if cofactor == ONE or largest < cofactor <= large_bound:
        return ONE
    if largest * largest < cofactor <= cofactor_bound and is_composite(cofactor):
        divisor = split(cofactor)
        smaller = min(divisor, cofactor // divisor)
        if largest < smaller and cofactor // smaller <= large_bound:
            return smaller
    return ZERO


@njit(cache=True, inline="always")
def _multiply(left: Word, right: Word, modulus: Modulus) -> Word:
    """Return left · right / 2^64 modulo n; both are below n."""
    upper = multiply_high(left, right)
    lower = multiply_high(left * right * modulus[1], modulus[0])
    return upper - lower + (modulus[0] if upper < lower else ZERO)


@njit(cache=True, inline="always")
def _add(left: Word, right: Word, modulus: Modulus) -> Word:
    total = left + right
    return total - (modulus[0] if total >= modulus[0] else ZERO)


@njit(cache=True, inline="always")
def _subtract(left: Word, right: Word, modulus: Modulus) -> Word:
    return left - right + (modulus[0] if left < right else ZERO)


@njit(cache=True)
def is_composite(n: Word) -> bool:
    """Return whether Fermat's test to base 2 proves an odd word composite.

    A pseudoprime to base 2 passes for a prime: at worst a false large prime, which still gives true
    relations.
    """
    modulus = n, word_inverse(n)
    one = (ZERO - n) % n
    power = one
    exponent = n - ONE
    bit = TOP_BIT
    while exponent >> bit == ZERO:
        bit -= ONE
    while True:
        power = _multiply(power, power, modulus)
        if exponent >> bit & ONE:
            power = _add(power, power, modulus)
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
    """Return a nontrivial divisor of a product of two primes above 1000, or 1 if none was found.

    Two-stage ECM with Suyama's parametrization and always the same curves, in a quarter of the time of
    Pollard's rho. Source: Montgomery, "Speeding the Pollard and elliptic curve methods of
    factorization" (1987).
    """
    root = np.uint64(np.sqrt(np.float64(n)))
    if root * root == n:  # curves would find both equal primes at once, hence n itself
        return root
    modulus = n, word_inverse(n)
    one = (ZERO - n) % n
    r_squared = one
    for _ in range(64):
        r_squared = _add(r_squared, r_squared, modulus)
    for curve in range(CURVES):
        point, a24, divisor = _suyama_curve(np.uint64(FIRST_SIGMA + curve), r_squared, modulus)
        if divisor == ONE:
            for times in STAGE_1_POWERS:
                point = _ladder(times, point, a24, modulus)
            divisor = _gcd(point[1], n)
            if divisor == ONE:
                divisor = _gcd(_stage_2(point, a24, one, modulus), n)
        if ONE < divisor < n:
            return divisor
    return ONE


@njit(cache=True)
def _suyama_curve(sigma: Word, r_squared: Word, modulus: Modulus) -> tuple[Point, Word, Word]:
    """Return a point, (A + 2)/4 of its curve, and a divisor of n: 1, or what stopped the inversion.

    `r_squared` is 2^128 modulo n: multiplying by it brings a word into Montgomery form.
    """
    s = _multiply(sigma, r_squared, modulus)
    u = _subtract(_multiply(s, s, modulus), _multiply(np.uint64(5), r_squared, modulus), modulus)
    v = _multiply(_multiply(np.uint64(4), r_squared, modulus), s, modulus)
    x = _multiply(_multiply(u, u, modulus), u, modulus)
    z = _multiply(_multiply(v, v, modulus), v, modulus)
    difference = _subtract(v, u, modulus)
    numerator = _multiply(_multiply(difference, difference, modulus), difference, modulus)
    numerator = _multiply(
        numerator, _add(_add(_add(u, u, modulus), u, modulus), v, modulus), modulus
    )
    sixteen = _multiply(np.uint64(16), r_squared, modulus)
    denominator = _multiply(_multiply(sixteen, x, modulus), v, modulus)
    inverse = modular_inverse(denominator, modulus[0])
    if inverse == ZERO:
        return (x, z), ZERO, _gcd(denominator, modulus[0])
    cube = _multiply(r_squared, r_squared, modulus)
    return (x, z), _multiply(numerator, _multiply(inverse, cube, modulus), modulus), ONE


@njit(cache=True)
def _double_point(point: Point, a24: Word, modulus: Modulus) -> Point:
    plus, minus = _add(point[0], point[1], modulus), _subtract(point[0], point[1], modulus)
    plus, minus = _multiply(plus, plus, modulus), _multiply(minus, minus, modulus)
    difference = _subtract(plus, minus, modulus)
    z = _multiply(difference, _add(minus, _multiply(a24, difference, modulus), modulus), modulus)
    return _multiply(plus, minus, modulus), z


@njit(cache=True)
def _add_points(one: Point, other: Point, difference: Point, modulus: Modulus) -> Point:
    """Return the sum of two points, given their difference (differential addition)."""
    left = _multiply(_subtract(one[0], one[1], modulus), _add(other[0], other[1], modulus), modulus)
    right = _multiply(
        _add(one[0], one[1], modulus), _subtract(other[0], other[1], modulus), modulus
    )
    plus, minus = _add(left, right, modulus), _subtract(left, right, modulus)
    x = _multiply(_multiply(plus, plus, modulus), difference[1], modulus)
    return x, _multiply(_multiply(minus, minus, modulus), difference[0], modulus)


@njit(cache=True)
def _ladder(times: int, point: Point, a24: Word, modulus: Modulus) -> Point:
    """Return `times` ≥ 2 times a point, by Montgomery's ladder."""
    low, upper = point, _double_point(point, a24, modulus)
    bit = 0
    while times >> (bit + 1):
        bit += 1
    while bit:
        bit -= 1
        total = _add_points(low, upper, point, modulus)
        if times >> bit & 1:
            low, upper = total, _double_point(upper, a24, modulus)
        else:
            low, upper = _double_point(low, a24, modulus), total
    return low


@njit(cache=True)
def _stage_2(point: Point, a24: Word, one: Word, modulus: Modulus) -> Word:
    """Return a word that shares a prime with n if one more prime up to B2 takes P to infinity there.

    60k·P and j·P have the same x modulo a prime of n exactly if (60k + j)·P or (60k - j)·P is the point
    at infinity modulo it: giant steps 60k meet baby steps j.
    """
    table = np.empty((3, len(BABY_STEPS)), np.uint64)
    giant = _baby_steps(point, a24, modulus, table)
    previous, current = giant, giant
    following = _double_point(giant, a24, modulus)
    product = one
    for _ in range(GIANT_STEPS):
        x, z = current
        giant_xz = _multiply(x, z, modulus)
        for column in range(len(BABY_STEPS)):
            cross = _multiply(
                _subtract(x, table[0, column], modulus), _add(z, table[1, column], modulus), modulus
            )
            cross = _add(_subtract(cross, giant_xz, modulus), table[2, column], modulus)
            product = _multiply(product, cross, modulus)
        previous, current = current, following
        following = _add_points(following, giant, previous, modulus)
    return product


@njit(cache=True)
def _baby_steps(point: Point, a24: Word, modulus: Modulus, table: Limbs) -> Point:
    """Set column i of uint64[3, steps] to x, z and x·z of j·P, j = `BABY_STEPS[i]`; return 60·P."""
    p2 = _double_point(point, a24, modulus)
    p3 = _add_points(p2, point, point, modulus)
    p4 = _double_point(p2, a24, modulus)
    p5 = _add_points(p3, p2, point, modulus)
    p6 = _double_point(p3, a24, modulus)
    p7 = _add_points(p4, p3, point, modulus)
    p11 = _add_points(p6, p5, point, modulus)
    p13 = _add_points(p7, p6, point, modulus)
    p17 = _add_points(p11, p6, p5, modulus)
    p19 = _add_points(p13, p6, p7, modulus)
    p23 = _add_points(p17, p6, p11, modulus)
    p29 = _add_points(p23, p6, p17, modulus)
    for column, found in enumerate((point, p7, p11, p13, p17, p19, p23, p29)):
        table[0, column], table[1, column] = found
        table[2, column] = _multiply(found[0], found[1], modulus)
    return _double_point(_add_points(p17, p13, p4, modulus), a24, modulus)
