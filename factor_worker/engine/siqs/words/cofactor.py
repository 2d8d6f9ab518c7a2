"""Cofactors: what is left of a value, and which one or two large primes it is the product of.

All words are below 2^63, and in curves they are Montgomery's (1985): a stands for a·2^-64 modulo n.
"""

from typing import Final

import numpy as np
from numba import njit

from factor_worker.engine.siqs.words.arithmetic import (
    ONE,
    TOP_BIT,
    ZERO,
    Limbs,
    Word,
    high,
    reciprocal,
    trailing_zeros,
    word_inverse,
)

FIRST_STAGE: Final = (64, 81, 25, 49, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61)
"""Powers of all primes up to 61."""
STEPS: Final = (1, 7, 11, 13, 17, 19, 23, 29)
"""Primes of the second stage are multiples of 60, plus or minus one of these ..."""
GIANT_STEPS: Final = 28
"""... up to 60 · 28 + 29."""
CURVES: Final = 64
"""Factors of 32 bits take two or three on average."""
FIRST_SIGMA: Final = 6

Modulus = tuple[Word, Word]
"""n and its inverse modulo 2^64."""
Point = tuple[Word, Word]
"""x and z on a curve in Montgomery's form."""


@njit(cache=True)
def smaller_prime(rest: Word, bounds: tuple[Word, Word, Word]) -> Word:
    """Return the smaller of the two large primes of a rest, 1 for none, or 0 if it is of no use.

    `bounds` are the largest prime of the base, of the large primes, and of the products of two.
    """
    largest, bound, cofactor_bound = bounds
    if rest == ONE or largest < rest <= bound:
        return ONE
    if largest * largest < rest <= cofactor_bound and is_composite(rest):
        divisor = split(rest)
        smaller = min(divisor, rest // divisor)
        if largest < smaller and rest // smaller <= bound:
            return smaller
    return ZERO


@njit(cache=True, inline="always")
def _product(left: Word, right: Word, modulus: Modulus) -> Word:
    """Return left · right / 2^64 modulo n; both are below n."""
    upper = high(left, right)
    lower = high(left * right * modulus[1], modulus[0])
    return upper - lower + (modulus[0] if upper < lower else ZERO)


@njit(cache=True, inline="always")
def _sum(left: Word, right: Word, modulus: Modulus) -> Word:
    total = left + right
    return total - (modulus[0] if total >= modulus[0] else ZERO)


@njit(cache=True, inline="always")
def _difference(left: Word, right: Word, modulus: Modulus) -> Word:
    return left - right + (modulus[0] if left < right else ZERO)


@njit(cache=True)
def is_composite(n: Word) -> bool:
    """Say whether 2 proves an odd word composite (Fermat); a pseudoprime passes for a prime."""
    modulus = n, word_inverse(n)
    one = (ZERO - n) % n
    power = one
    exponent = n - ONE
    bit = TOP_BIT
    while exponent >> bit == ZERO:
        bit -= ONE
    while True:
        power = _product(power, power, modulus)
        if exponent >> bit & ONE:
            power = _sum(power, power, modulus)
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

    Elliptic curves with Suyama's parametrization, always the same ones. Source: Montgomery 1987,
    "Speeding the Pollard and elliptic curve methods of factorization". They take a quarter of the
    time of Pollard's rho.
    """
    root = np.uint64(np.sqrt(np.float64(n)))
    if root * root == n:  # curves would find both factors at once
        return root
    modulus = n, word_inverse(n)
    one = (ZERO - n) % n
    square = one
    for _ in range(64):
        square = _sum(square, square, modulus)
    for curve in range(CURVES):
        point, slope, divisor = _curve(np.uint64(FIRST_SIGMA + curve), square, modulus)
        if divisor == ONE:
            for times in FIRST_STAGE:
                point = _multiple(times, point, slope, modulus)
            divisor = _gcd(point[1], n)
            if divisor == ONE:
                divisor = _gcd(_second_stage(point, slope, one, modulus), n)
        if ONE < divisor < n:
            return divisor
    return ONE


@njit(cache=True)
def _curve(sigma: Word, square: Word, modulus: Modulus) -> tuple[Point, Word, Word]:
    """Return a point, (A + 2)/4 of its curve, and the divisor of n that shows on the way, or 1.

    `square` is 2^128 modulo n: a product with it makes a word Montgomery's.
    """
    s = _product(sigma, square, modulus)
    u = _difference(_product(s, s, modulus), _product(np.uint64(5), square, modulus), modulus)
    v = _product(_product(np.uint64(4), square, modulus), s, modulus)
    x = _product(_product(u, u, modulus), u, modulus)
    z = _product(_product(v, v, modulus), v, modulus)
    apart = _difference(v, u, modulus)
    above = _product(_product(apart, apart, modulus), apart, modulus)
    above = _product(above, _sum(_sum(_sum(u, u, modulus), u, modulus), v, modulus), modulus)
    sixteen = _product(np.uint64(16), square, modulus)
    below = _product(_product(sixteen, x, modulus), v, modulus)
    inverse = reciprocal(below, modulus[0])
    if inverse == ZERO:
        return (x, z), ZERO, _gcd(below, modulus[0])
    cube = _product(square, square, modulus)
    return (x, z), _product(above, _product(inverse, cube, modulus), modulus), ONE


@njit(cache=True)
def _double(point: Point, slope: Word, modulus: Modulus) -> Point:
    plus, minus = _sum(point[0], point[1], modulus), _difference(point[0], point[1], modulus)
    plus, minus = _product(plus, plus, modulus), _product(minus, minus, modulus)
    apart = _difference(plus, minus, modulus)
    z = _product(apart, _sum(minus, _product(slope, apart, modulus), modulus), modulus)
    return _product(plus, minus, modulus), z


@njit(cache=True)
def _add(one: Point, other: Point, apart: Point, modulus: Modulus) -> Point:
    """Return the sum of two points, given their difference."""
    left = _product(
        _difference(one[0], one[1], modulus), _sum(other[0], other[1], modulus), modulus
    )
    right = _product(
        _sum(one[0], one[1], modulus), _difference(other[0], other[1], modulus), modulus
    )
    plus, minus = _sum(left, right, modulus), _difference(left, right, modulus)
    x = _product(_product(plus, plus, modulus), apart[1], modulus)
    return x, _product(_product(minus, minus, modulus), apart[0], modulus)


@njit(cache=True)
def _multiple(times: int, point: Point, slope: Word, modulus: Modulus) -> Point:
    """Return `times` ≥ 2 times a point, by Montgomery's ladder."""
    low, upper = point, _double(point, slope, modulus)
    bit = 0
    while times >> (bit + 1):
        bit += 1
    while bit:
        bit -= 1
        total = _add(low, upper, point, modulus)
        if times >> bit & 1:
            low, upper = total, _double(upper, slope, modulus)
        else:
            low, upper = _double(low, slope, modulus), total
    return low


@njit(cache=True)
def _second_stage(point: Point, slope: Word, one: Word, modulus: Modulus) -> Word:
    """Return a word that has a prime factor of n in common if one more prime leads to infinity there.

    60·k·P and j·P have the same x modulo a prime if it divides 60·k + j or 60·k - j times P.
    """
    steps = np.empty((3, len(STEPS)), np.uint64)
    giant = _steps(point, slope, modulus, steps)
    before, current = giant, giant
    following = _double(giant, slope, modulus)
    result = one
    for _ in range(GIANT_STEPS):
        x, z = current
        both = _product(x, z, modulus)
        for step in range(len(STEPS)):
            cross = _product(
                _difference(x, steps[0, step], modulus), _sum(z, steps[1, step], modulus), modulus
            )
            cross = _sum(_difference(cross, both, modulus), steps[2, step], modulus)
            result = _product(result, cross, modulus)
        before, current = current, following
        following = _add(following, giant, before, modulus)
    return result


@njit(cache=True)
def _steps(point: Point, slope: Word, modulus: Modulus, steps: Limbs) -> Point:
    """Set each column to x, z and x·z of j times a point for j in `STEPS`; return 60 times it."""
    p2 = _double(point, slope, modulus)
    p3 = _add(p2, point, point, modulus)
    p4 = _double(p2, slope, modulus)
    p5 = _add(p3, p2, point, modulus)
    p6 = _double(p3, slope, modulus)
    p7 = _add(p4, p3, point, modulus)
    p11 = _add(p6, p5, point, modulus)
    p13 = _add(p7, p6, point, modulus)
    p17 = _add(p11, p6, p5, modulus)
    p19 = _add(p13, p6, p7, modulus)
    p23 = _add(p17, p6, p11, modulus)
    p29 = _add(p23, p6, p17, modulus)
    for step, found in enumerate((point, p7, p11, p13, p17, p19, p23, p29)):
        steps[0, step], steps[1, step] = found
        steps[2, step] = _product(found[0], found[1], modulus)
    return _double(_add(p17, p13, p4, modulus), slope, modulus)
