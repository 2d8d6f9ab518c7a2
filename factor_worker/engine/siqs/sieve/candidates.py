"""Candidates: positions where enough logarithms came together are divided out, and kept or dropped.

Functions here take arrays one by one: a call with a whole table costs more than a division.
"""

from typing import Final

import numpy as np
from numba import njit

from factor_worker.engine.siqs.polynomials.factor_base import FIRST_ODD, MINUS_ONE, TWO
from factor_worker.engine.siqs.sieve.tables import MOST_FACTORS, Found, Table, Work
from factor_worker.engine.siqs.words import cofactor, lanes
from factor_worker.engine.siqs.words.arithmetic import (
    ONE,
    ZERO,
    Limbs,
    Word,
    add_product,
    bit_length,
    divide,
    is_negative,
    negate,
    subtract_product,
    trailing_zeros,
)
from factor_worker.engine.siqs.words.arrays import Bytes, Ids, Index
from factor_worker.engine.siqs.words.lanes import LANES, MANY

_WORD_BITS: Final = np.uint64(64)


@njit(cache=True)
def examine(tables: Table, work: Work, found: Found, number: int) -> bool:
    """Divide out the candidates of a polynomial; return False if there is no room for a relation."""
    limits = tables.limits
    primes, inverses = tables.primes, tables.inverses
    roots = work.first, work.second, tables.inverses32, tables.quotients32
    value, quotient = work.value, work.quotient
    bounds = (
        np.uint64(primes[-1]),
        np.uint64(limits.large_bound),
        np.uint64(limits.cofactor_bound),
    )
    sizes = limits.large_size, limits.square_size, limits.left
    far = tables.groups, work.hits, work.ends
    for position in work.candidates[: work.counts[0]]:
        relation, before = found.counts[0], found.counts[1]
        if relation == len(found.numbers) or before + MOST_FACTORS > len(found.factors):
            return False
        factors = found.factors[before : before + MOST_FACTORS]
        x = np.int64(position) - limits.reach
        count = _evaluate(value, quotient, (work.a, work.b, work.c), x, factors)
        dividend = value, quotient, primes, inverses
        count = _range(dividend, roots, FIRST_ODD, limits.sieved, position, factors, count)
        sieved = np.int64(np.uint8(work.sieve[position] - limits.start))
        if bit_length(value) - sieved > limits.hopeless:
            continue
        for index in work.factors_of_a:
            count = _divide_out(dividend, index, factors, count)
        known = count
        count = _range(dividend, roots, limits.sieved, limits.far, position, factors, count)
        sieved -= _logarithms(factors[known:count], work.logs)
        if _is_useless(bit_length(value) - sieved, sizes):
            continue
        if sieved > 0:
            count = _far(dividend, roots, far, position, factors, count)
        if bit_length(value) > 64:  # noqa: PLR2004
            continue
        small = cofactor.smaller_prime(value[0], bounds)
        if small == ZERO:
            continue
        found.numbers[relation], found.positions[relation] = number, position
        found.large[relation, 0], found.large[relation, 1] = small, value[0] // small
        found.ends[relation] = before + count
        found.counts[0], found.counts[1] = relation + 1, before + count
    return True


@njit(cache=True)
def _logarithms(factors: Ids, logs: Bytes) -> np.int64:
    """Return what some factors, ascending, added to the sieve: each counts once."""
    total = np.int64(0)
    for place in range(len(factors)):
        if not place or factors[place] != factors[place - 1]:
            total += logs[factors[place]]
    return total


@njit(cache=True)
def _is_useless(size: np.int64, sizes: tuple[int, int, int]) -> bool:
    """Say whether a rest of about so many bits is too large, or between one large prime and two."""
    large, square, left = sizes
    return bool(size > left or large < size < square)


@njit(cache=True)
def _evaluate(
    value: Limbs, slope: Limbs, coefficients: tuple[Limbs, Limbs, Limbs], x: np.int64, factors: Ids
) -> int:
    """Set the value to |Q(x)| / 2^i; return how many factors were noted: -1 and the twos."""
    a, b, c = coefficients
    for limb in range(len(value)):
        slope[limb], value[limb] = b[limb], c[limb]
    if x >= 0:
        add_product(slope, a, np.uint64(x))
        add_product(value, slope, np.uint64(x))
    else:
        subtract_product(slope, a, np.uint64(-x))
        subtract_product(value, slope, np.uint64(-x))
    count = 0
    if is_negative(value):
        negate(value)
        factors[count] = MINUS_ONE
        count += 1
    twos = trailing_zeros(value[0])
    _shift_right(value, twos)
    for _ in range(twos):
        factors[count] = TWO
        count += 1
    return count


@njit(cache=True)
def _shift_right(value: Limbs, bits: Word) -> None:
    """Shift by 1 to 63 bits, or by none, in place."""
    if bits % _WORD_BITS == ZERO:
        return
    for limb in range(len(value) - 1):
        value[limb] = (value[limb] >> bits) | (value[limb + 1] << (_WORD_BITS - bits))
    value[len(value) - 1] >>= bits


@njit(cache=True)
def _divide_out(
    dividend: tuple[Limbs, Limbs, Ids, Limbs], index: np.int64, factors: Ids, count: int
) -> int:
    """Divide the value by a prime as often as it goes, noting it each time."""
    value, quotient, primes, inverses = dividend
    p, inverse = np.uint64(primes[index]), inverses[index]
    while divide(quotient, value, p, inverse):
        for limb in range(len(value)):
            value[limb] = quotient[limb]
        factors[count] = index
        count += 1
    return count


@njit(cache=True)
def _range(  # noqa: PLR0913, PLR0917 see above
    dividend: tuple[Limbs, Limbs, Ids, Limbs],
    roots: tuple[Ids, Ids, Ids, Ids],
    start: int,
    stop: int,
    position: np.uint32,
    factors: Ids,
    count: int,
) -> int:
    """Divide by those primes of a range of which a root lies a multiple of p from the position.

    Vectors need not begin where the range does: only what is in the range counts.
    """
    first, second, inverses, quotients = roots
    for place in range(start, stop, LANES):
        low = max(0, min(place, stop - LANES))
        hits = lanes.congruent(first, second, inverses, quotients, low, position)
        while hits:
            index = low + np.int64(trailing_zeros(hits))
            hits &= hits - ONE
            if start <= index < stop:
                count = _divide_out(dividend, index, factors, count)
    return count


@njit(cache=True)
def _far(  # noqa: PLR0913, PLR0917
    dividend: tuple[Limbs, Limbs, Ids, Limbs],
    roots: tuple[Ids, Ids, Ids, Ids],
    far: tuple[Index, Ids, Index],
    position: np.uint32,
    factors: Ids,
    count: int,
) -> int:
    """Divide by the far primes that hit the position; the list of hits tells in which group they are."""
    groups, hits, ends = far
    if not len(groups):
        return count
    group = 0
    for start in range(0, ends[-1], MANY):
        if not lanes.among(hits, start, position):
            continue
        while ends[group] <= start:
            group += 1
        last = group
        while True:
            low, high = groups[last, 0], groups[last, 1]
            count = _range(dividend, roots, low, high, position, factors, count)
            if ends[last] >= start + MANY or last == len(groups) - 1:
                break
            last += 1
    return count
