"""Cofactors: what is left of a value, and which one or two large primes it is the product of."""

from typing import Final

import numpy as np
from numba import njit

from factor_worker.engine.siqs.arithmetic import ONE, TOP_BIT, ZERO, Word, high, trailing_zeros

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
def smaller_prime(rest: Word, bounds: tuple[Word, Word, Word]) -> Word:
    """Return the smaller of the at most two large primes of a rest, or 0 if it is of no use.

    `bounds` are those of a large prime, of what is prime for certain, and of a product of two.
    """
    bound, certainly_prime, cofactor_bound = bounds
    if rest <= bound:
        return ONE
    if rest <= certainly_prime or rest > cofactor_bound or not is_composite(rest):
        return ZERO
    one = split(rest)
    if one == ONE:
        return ZERO
    other = rest // one
    return min(one, other) if max(one, other) <= bound else ZERO


@njit(cache=True)
def word_inverse(n: Word) -> Word:
    """Return the inverse of an odd word modulo 2^64."""
    inverse = n
    for _ in range(5):
        inverse *= np.uint64(2) - n * inverse
    return inverse


@njit(cache=True, inline="always")
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


@njit(cache=True, inline="always")
def _sum(left: Word, right: Word, n: Word) -> Word:
    total = left + right
    return total - n if total >= n else total


@njit(cache=True, inline="always")
def _difference(left: Word, right: Word, n: Word) -> Word:
    return left - right if left >= right else left - right + n


@njit(cache=True)
def _double(x: Word, z: Word, ratio: Word, n: Word, inverse: Word) -> tuple[Word, Word]:
    """Return twice a point; `ratio` is (A + 2)/4 of the curve."""
    plus, minus = _sum(x, z, n), _difference(x, z, n)
    plus = product(plus, plus, n, inverse)
    minus = product(minus, minus, n, inverse)
    between = _difference(plus, minus, n)
    low = _sum(minus, product(ratio, between, n, inverse), n)
    return product(plus, minus, n, inverse), product(between, low, n, inverse)


@njit(cache=True)
def _add(
    x: Word,
    z: Word,
    other_x: Word,
    other_z: Word,
    apart_x: Word,
    apart_z: Word,
    n: Word,
    inverse: Word,
) -> tuple[Word, Word]:
    """Return the sum of two points whose difference is known."""
    one = product(_difference(x, z, n), _sum(other_x, other_z, n), n, inverse)
    other = product(_sum(x, z, n), _difference(other_x, other_z, n), n, inverse)
    plus, minus = _sum(one, other, n), _difference(one, other, n)
    plus = product(plus, plus, n, inverse)
    minus = product(minus, minus, n, inverse)
    return product(plus, apart_z, n, inverse), product(minus, apart_x, n, inverse)


@njit(cache=True)
def _times(count: int, x: Word, z: Word, ratio: Word, n: Word, inverse: Word) -> tuple[Word, Word]:
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
def _reciprocal(value: Word, n: Word) -> Word:
    """Return the inverse modulo n < 2^63, or 0 if there is none, by Euclid."""
    low, high_ = np.int64(value), np.int64(n)
    x, y = np.int64(1), np.int64(0)
    while low > 1:
        ratio = high_ // low
        low, high_ = high_ - ratio * low, low
        x, y = y - ratio * x, x
    if low == 0:
        return ZERO
    return np.uint64(x + np.int64(n) if x < 0 else x)


@njit(cache=True)
def split(n: Word) -> Word:
    """Return a nontrivial divisor of an odd composite n < 2^63, or 1 if it resists.

    Elliptic curves in Montgomery's form with Suyama's parameters. Source: Montgomery, "Speeding the
    Pollard and elliptic curve methods of factorization" (1987).
    """
    inverse = word_inverse(n)
    one = (ZERO - n) % n
    square = one
    for _ in range(64):
        square = _sum(square, square, n)
    cube = product(square, square, n, inverse)
    for curve in range(CURVES):
        sigma = product(np.uint64(SIGMA + curve), square, n, inverse)
        five = product(np.uint64(5), square, n, inverse)
        u = _difference(product(sigma, sigma, n, inverse), five, n)
        v = _sum(_sum(sigma, sigma, n), _sum(sigma, sigma, n), n)
        x = product(product(u, u, n, inverse), u, n, inverse)
        z = product(product(v, v, n, inverse), v, n, inverse)
        away = _difference(v, u, n)
        above = product(product(away, away, n, inverse), away, n, inverse)
        above = product(above, _sum(_sum(_sum(u, u, n), u, n), v, n), n, inverse)
        below = product(x, v, n, inverse)
        for _ in range(4):
            below = _sum(below, below, n)
        reciprocal = _reciprocal(below, n)
        if reciprocal == ZERO:
            found = _gcd(below, n)
        else:
            ratio = product(above, product(reciprocal, cube, n, inverse), n, inverse)
            for power in FIRST_POWERS:
                x, z = _times(power, x, z, ratio, n, inverse)
            found = _gcd(z, n)
            if found == ONE:
                found = _gcd(_second_stage(x, z, ratio, one, n, inverse), n)
        if ONE < found < n:
            return found
    return ONE


@njit(cache=True)
def _second_stage(x: Word, z: Word, ratio: Word, one: Word, n: Word, inverse: Word) -> Word:
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
        products[place] = product(xs[place], zs[place], n, inverse)
    x30, z30 = _add(xs[4], zs[4], xs[3], zs[3], x4, z4, n, inverse)
    step_x, step_z = _double(x30, z30, ratio, n, inverse)
    before_x, before_z = step_x, step_z
    giant_x, giant_z = _double(step_x, step_z, ratio, n, inverse)
    result = one
    current_x, current_z = step_x, step_z
    for _ in range(GIANTS):
        own = product(current_x, current_z, n, inverse)
        for place in range(8):
            cross = product(
                _difference(current_x, xs[place], n), _sum(current_z, zs[place], n), n, inverse
            )
            cross = _sum(_difference(cross, own, n), products[place], n)
            result = product(result, cross, n, inverse)
        before_x, before_z = current_x, current_z
        current_x, current_z = giant_x, giant_z
        giant_x, giant_z = _add(giant_x, giant_z, step_x, step_z, before_x, before_z, n, inverse)
    return result
