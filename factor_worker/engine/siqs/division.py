"""Trial division: from a position where the sieve saw enough to a relation, or to nothing."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from factor_worker.engine.siqs import cofactors, lanes, limbs
from factor_worker.engine.siqs.lanes import LANES
from factor_worker.engine.siqs.limbs import LIMBS, Limbs
from factor_worker.engine.siqs.tables import FIRST_ODD, I64, U8, U32, Leading, Number, Workspace

MOST: Final = 256
"""Prime factors of a value; it has no more than bits."""


class Found(NamedTuple):
    """Room for what an a yields. `counts` are relations, factors, full ones, ones with large primes."""

    counts: npt.NDArray[np.int64]
    polynomials: U32
    positions: U32
    lengths: U8
    """Factors of each relation, less those of a."""
    factors: U32
    """Of all relations, one after the other."""
    large: npt.NDArray[np.uint32]
    """uint32[m, 2], ascending, 1 for none."""

    @classmethod
    def make(cls, relations: int) -> "Found":
        """Make room for so many relations."""
        return cls(
            counts=np.zeros(4, dtype=np.int64),
            polynomials=np.empty(relations, dtype=np.uint32),
            positions=np.empty(relations, dtype=np.uint32),
            lengths=np.empty(relations, dtype=np.uint8),
            factors=np.empty(relations * 32 + 2 * MOST, dtype=np.uint32),
            large=np.empty((relations, 2), dtype=np.uint32),
        )


@njit(cache=True)
def relations(
    number: Number,
    leading: Leading,
    start: Limbs,
    polynomial: np.uint32,
    candidates: int,
    work: Workspace,
    found: Found,
) -> bool:
    """Divide the values at the candidates; add those that are smooth enough to what is found.

    Returns False if there is no room. Arrays are taken out of their tables once, here: a call with
    a whole table costs more than dividing by a prime.
    """
    primes, wide_inverses = number.primes, number.wide_inverses
    inverses, limits = number.inverses, number.limits
    first, second, sieve = work.first, work.second, work.sieve
    value, quotient = work.value, work.quotient
    counts, lengths, large = found.counts, found.lengths, found.large
    far = min(number.far, number.size)
    biggest = np.uint64(primes[number.size - 1])
    bounds = (
        np.uint64(number.large_bound),
        biggest * biggest,
        np.uint64(number.cofactor_bound),
    )
    for position in work.candidates[:candidates]:
        row, place = counts[0], counts[1]
        if row == len(lengths) or place + MOST > len(found.factors):
            return False
        factors = found.factors[place : place + MOST]
        negative = _value(
            leading.a, start, position, number.kn, leading.inverse, work.x, work.square, value
        )
        before = limbs.bits(value)
        count = 0
        if negative:
            factors[0] = np.uint32(0)
            count = 1
        count = _twos(value, factors, count)
        count = _range(
            primes, wide_inverses, inverses, limits, first, second,
            FIRST_ODD, number.sieved, position, value, quotient, factors, count,
        )  # fmt: skip
        for index in leading.indices:
            count = _divide(primes, wide_inverses, index, value, quotient, factors, count)
        sieved = number.threshold + 256 - np.int64(sieve[position])
        if before - limbs.bits(value) + sieved < number.small_threshold:
            continue
        count = _range(
            primes, wide_inverses, inverses, limits, first, second,
            number.sieved, far, position, value, quotient, factors, count,
        )  # fmt: skip
        if len(work.ends):
            count = _far(
                primes, wide_inverses, inverses, limits, first, second,
                work.hits, work.ends, number.groups, position, value, quotient, factors, count,
            )  # fmt: skip
        if value[1] | value[2] | value[3]:
            continue
        rest = value[0]
        one = cofactors.lower_prime(rest, bounds)
        if one == np.uint64(0):
            continue
        found.polynomials[row] = polynomial
        found.positions[row] = position
        lengths[row] = np.uint8(count)
        large[row, 0] = np.uint32(one)
        large[row, 1] = np.uint32(rest // one)
        counts[0] += 1
        counts[1] += count
        counts[2 if rest == np.uint64(1) else 3] += 1
    return True


@njit(cache=True)
def _value(
    a: Limbs,
    start: Limbs,
    position: np.uint32,
    kn: Limbs,
    inverse: Limbs,
    x: Limbs,
    square: Limbs,
    value: Limbs,
) -> bool:
    """Put |((a·position + start)² - kN) / a| into `value`; say whether it is negative."""
    x[:] = start
    limbs.add_product(x, a, np.uint64(position))
    limbs.multiply(x, x, square)
    limbs.subtract(square, kn)
    limbs.multiply(square, inverse, value)
    negative = bool(value[LIMBS - 1] >> np.uint64(63))
    if negative:
        limbs.negate(value)
    return negative


@njit(cache=True)
def _twos(value: Limbs, factors: U32, count: int) -> int:
    """Divide by 2 as often as it goes; return the new number of factors."""
    while not value[0] & np.uint64(1):
        twos = min(np.uint64(32), limbs.trailing_zeros(value[0]))
        limbs.shift_right(value, twos)
        for _ in range(np.int64(twos)):
            factors[count] = np.uint32(1)
            count += 1
    return count


@njit(cache=True)
def _divide(
    primes: U32,
    wide_inverses: Limbs,
    index: int,
    value: Limbs,
    quotient: Limbs,
    factors: U32,
    count: int,
) -> int:
    """Divide by a prime as often as it goes; return the new number of factors."""
    prime, inverse = np.uint64(primes[index]), wide_inverses[index]
    while limbs.divide_exactly(value, prime, inverse, quotient):
        for i in range(LIMBS):
            value[i] = quotient[i]
        factors[count] = np.uint32(index)
        count += 1
    return count


@njit(cache=True)
def _range(
    primes: U32,
    wide_inverses: Limbs,
    inverses: U32,
    limits: U32,
    first: U32,
    second: U32,
    begin: int,
    end: int,
    position: np.uint32,
    value: Limbs,
    quotient: Limbs,
    factors: U32,
    count: int,
) -> int:
    """Divide by those primes of a range that have the position among the multiples of a root."""
    for block in range(begin & -LANES, end, LANES):
        mask = lanes.congruent(first, second, inverses, limits, block, position)
        while mask:
            index = block + np.int64(limbs.trailing_zeros(mask))
            mask &= mask - np.uint64(1)
            if begin <= index < end:
                count = _divide(primes, wide_inverses, index, value, quotient, factors, count)
    return count


@njit(cache=True)
def _far(
    primes: U32,
    wide_inverses: Limbs,
    inverses: U32,
    limits: U32,
    first: U32,
    second: U32,
    hits: U32,
    ends: I64,
    groups: I64,
    position: np.uint32,
    value: Limbs,
    quotient: Limbs,
    factors: U32,
    count: int,
) -> int:
    """Divide by the far primes that hit the position: their group is known from the list of hits."""
    group = 0
    for begin in range(0, ends[-1], lanes.MANY):
        if not lanes.among(hits, begin, position):
            continue
        while ends[group] <= begin:
            group += 1
        while group < len(ends) and (not group or ends[group - 1] < begin + lanes.MANY):
            count = _range(
                primes, wide_inverses, inverses, limits, first, second,
                groups[group, 0], groups[group, 1], position, value, quotient, factors, count,
            )  # fmt: skip
            group += 1
        group -= 1
    return count
