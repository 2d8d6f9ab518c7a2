"""Splitting what is left of a value into large primes."""

from typing import Final

import numpy as np
from numba import njit

from factor_worker.engine.siqs.limbs import high, trailing_zeros

FIRST_POWERS: Final = (64, 81, 25, 49, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61)
"""Stage 1 of the curves: powers of all primes up to B1 = 61."""
BABY: Final = (1, 7, 11, 13, 17, 19, 23, 29)
"""Primes of stage 2 are multiples of 60, plus or minus one of these."""
GIANTS: Final = 28
"""Stage 2 reaches to 60·28 + 29."""
CURVES: Final = 32
SIGMA: Final = 6
"""Parameter of the first curve."""


@njit(cache=True)
def lower_prime(rest: np.uint64, bounds: tuple[np.uint64, np.uint64, np.uint64]) -> np.uint64:
    """Return the lower of the at most two large primes of a rest, or 0 if it is of no use.

    `bounds` are those of a large prime, of what is surely prime, and of a product of two.
    """
    bound, surely_prime, cofactor_bound = bounds
    if rest <= bound:
        return np.uint64(1)
    if rest <= surely_prime or rest > cofactor_bound or is_probable_prime(rest):
        return np.uint64(0)
    one = split(rest)
    if one == np.uint64(0):
        return one
    other = rest // one
    if max(one, other) > bound:
        return np.uint64(0)
    return min(one, other)


@njit(cache=True, inline="always")
def _product(left: np.uint64, right: np.uint64, n: np.uint64, inverse: np.uint64) -> np.uint64:
    """Return left·right / 2^64 modulo n (Montgomery 1985); `inverse` is that of n modulo 2^64."""
    top = high(left, right)
    away = high(left * right * inverse, n)
    return top - away if top >= away else top - away + n


@njit(cache=True, inline="always")
def _sum(left: np.uint64, right: np.uint64, n: np.uint64) -> np.uint64:
    total = left + right
    return total - n if total >= n else total


@njit(cache=True, inline="always")
def _difference(left: np.uint64, right: np.uint64, n: np.uint64) -> np.uint64:
    return left - right if left >= right else left - right + n


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
    """Apply Fermat's test to base 2, for odd n between 2 and 2^63."""
    inverse = _inverse(n)
    one = (np.uint64(0) - n) % n
    power = one
    exponent = n - np.uint64(1)
    place = np.uint64(63)
    while not exponent >> place:
        place -= np.uint64(1)
    while True:
        power = _product(power, power, n, inverse)
        if (exponent >> place) & np.uint64(1):
            power = _sum(power, power, n)
        if place == np.uint64(0):
            return power == one
        place -= np.uint64(1)


@njit(cache=True)
def _double(
    x: np.uint64, z: np.uint64, ratio: np.uint64, n: np.uint64, inverse: np.uint64
) -> tuple[np.uint64, np.uint64]:
    """Return twice a point; `ratio` is (A + 2)/4 of the curve."""
    plus, minus = _sum(x, z, n), _difference(x, z, n)
    plus = _product(plus, plus, n, inverse)
    minus = _product(minus, minus, n, inverse)
    between = _difference(plus, minus, n)
    low = _sum(minus, _product(ratio, between, n, inverse), n)
    return _product(plus, minus, n, inverse), _product(between, low, n, inverse)


@njit(cache=True)
def _add(
    x: np.uint64,
    z: np.uint64,
    other_x: np.uint64,
    other_z: np.uint64,
    apart_x: np.uint64,
    apart_z: np.uint64,
    n: np.uint64,
    inverse: np.uint64,
) -> tuple[np.uint64, np.uint64]:
    """Return the sum of two points whose difference is known."""
    one = _product(_difference(x, z, n), _sum(other_x, other_z, n), n, inverse)
    other = _product(_sum(x, z, n), _difference(other_x, other_z, n), n, inverse)
    plus, minus = _sum(one, other, n), _difference(one, other, n)
    plus = _product(plus, plus, n, inverse)
    minus = _product(minus, minus, n, inverse)
    return _product(plus, apart_z, n, inverse), _product(minus, apart_x, n, inverse)


@njit(cache=True)
def _times(
    count: int, x: np.uint64, z: np.uint64, ratio: np.uint64, n: np.uint64, inverse: np.uint64
) -> tuple[np.uint64, np.uint64]:
    """Return `count` ≥ 2 times a point, by Montgomery's ladder."""
    low_x, low_z = x, z
    high_x, high_z = _double(x, z, ratio, n, inverse)
    place = 0
    while count >> (place + 1):
        place += 1
    while place > 0:
        place -= 1
        sum_x, sum_z = _add(low_x, low_z, high_x, high_z, x, z, n, inverse)
        if (count >> place) & 1:
            low_x, low_z = sum_x, sum_z
            high_x, high_z = _double(high_x, high_z, ratio, n, inverse)
        else:
            low_x, low_z = _double(low_x, low_z, ratio, n, inverse)
            high_x, high_z = sum_x, sum_z
    return low_x, low_z


@njit(cache=True)
def _reciprocal(value: np.uint64, n: np.uint64) -> np.uint64:
    """Return the inverse modulo n < 2^63, or 0 if there is none, by Euclid."""
    low, high_ = np.int64(value), np.int64(n)
    x, y = np.int64(1), np.int64(0)
    while low > 1:
        ratio = high_ // low
        low, high_ = high_ - ratio * low, low
        x, y = y - ratio * x, x
    if low == 0:
        return np.uint64(0)
    return np.uint64(x + np.int64(n) if x < 0 else x)


@njit(cache=True)
def split(n: np.uint64) -> np.uint64:
    """Return a nontrivial divisor of an odd composite n < 2^63, or 0 if it resists.

    Elliptic curves in Montgomery's form with Suyama's parameters. Source: Montgomery, "Speeding the
    Pollard and elliptic curve methods of factorization" (1987).
    """
    inverse = _inverse(n)
    one = (np.uint64(0) - n) % n
    square = one
    for _ in range(64):
        square = _sum(square, square, n)
    cube = _product(square, square, n, inverse)
    for curve in range(CURVES):
        sigma = _product(np.uint64(SIGMA + curve), square, n, inverse)
        five = _product(np.uint64(5), square, n, inverse)
        u = _difference(_product(sigma, sigma, n, inverse), five, n)
        v = _sum(_sum(sigma, sigma, n), _sum(sigma, sigma, n), n)
        x = _product(_product(u, u, n, inverse), u, n, inverse)
        z = _product(_product(v, v, n, inverse), v, n, inverse)
        away = _difference(v, u, n)
        above = _product(_product(away, away, n, inverse), away, n, inverse)
        above = _product(above, _sum(_sum(_sum(u, u, n), u, n), v, n), n, inverse)
        below = _product(x, v, n, inverse)
        for _ in range(4):
            below = _sum(below, below, n)
        reciprocal = _reciprocal(below, n)
        if reciprocal == np.uint64(0):
            found = _gcd(below, n)
        else:
            ratio = _product(above, _product(reciprocal, cube, n, inverse), n, inverse)
            for power in FIRST_POWERS:
                x, z = _times(power, x, z, ratio, n, inverse)
            found = _gcd(z, n)
            if found == np.uint64(1):
                found = _gcd(_second_stage(x, z, ratio, one, n, inverse), n)
        if np.uint64(1) < found < n:
            return found
    return np.uint64(0)


@njit(cache=True)
def _second_stage(
    x: np.uint64, z: np.uint64, ratio: np.uint64, one: np.uint64, n: np.uint64, inverse: np.uint64
) -> np.uint64:
    """Return a product that shares a factor with n if one prime is missing after stage 1."""
    x2, z2 = _double(x, z, ratio, n, inverse)
    x3, z3 = _add(x2, z2, x, z, x, z, n, inverse)
    x4, z4 = _double(x2, z2, ratio, n, inverse)
    x5, z5 = _add(x3, z3, x2, z2, x, z, n, inverse)
    x6, z6 = _double(x3, z3, ratio, n, inverse)
    xs, zs = np.empty(8, dtype=np.uint64), np.empty(8, dtype=np.uint64)
    products = np.empty(8, dtype=np.uint64)
    xs[0], zs[0] = x, z
    xs[1], zs[1] = _add(x4, z4, x3, z3, x, z, n, inverse)
    xs[2], zs[2] = _add(x6, z6, x5, z5, x, z, n, inverse)
    xs[3], zs[3] = _add(xs[1], zs[1], x6, z6, x, z, n, inverse)
    xs[4], zs[4] = _add(xs[2], zs[2], x6, z6, x5, z5, n, inverse)
    xs[5], zs[5] = _add(xs[3], zs[3], x6, z6, xs[1], zs[1], n, inverse)
    xs[6], zs[6] = _add(xs[4], zs[4], x6, z6, xs[2], zs[2], n, inverse)
    xs[7], zs[7] = _add(xs[6], zs[6], x6, z6, xs[4], zs[4], n, inverse)
    for place in range(8):
        products[place] = _product(xs[place], zs[place], n, inverse)
    x30, z30 = _add(xs[4], zs[4], xs[3], zs[3], x4, z4, n, inverse)
    step_x, step_z = _double(x30, z30, ratio, n, inverse)
    before_x, before_z = step_x, step_z
    giant_x, giant_z = _double(step_x, step_z, ratio, n, inverse)
    result = one
    current_x, current_z = step_x, step_z
    for _ in range(GIANTS):
        product = _product(current_x, current_z, n, inverse)
        for place in range(8):
            cross = _product(
                _difference(current_x, xs[place], n), _sum(current_z, zs[place], n), n, inverse
            )
            cross = _sum(_difference(cross, product, n), products[place], n)
            result = _product(result, cross, n, inverse)
        before_x, before_z = current_x, current_z
        current_x, current_z = giant_x, giant_z
        giant_x, giant_z = _add(
            giant_x, giant_z, step_x, step_z, before_x, before_z, n, inverse
        )
    return result
