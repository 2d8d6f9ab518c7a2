"""Trial division: from a position where the sieve saw enough to a relation, or to nothing."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from factor_worker.engine.siqs import cofactors, limbs
from factor_worker.engine.siqs.limbs import LIMBS, Limbs
from factor_worker.engine.siqs.tables import U8, U32, Leading, Number

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


class Scratch(NamedTuple):
    """Limbs of a value that is being divided."""

    x: Limbs
    square: Limbs
    value: Limbs
    quotient: Limbs
    hits: U8
    """For each prime whether the position is near one of its roots."""

    @classmethod
    def make(cls, base: int) -> "Scratch":
        """Make room."""
        return cls(
            np.empty(LIMBS, dtype=np.uint64),
            np.empty(2 * LIMBS, dtype=np.uint64),
            np.empty(LIMBS, dtype=np.uint64),
            np.empty(LIMBS, dtype=np.uint64),
            np.empty(base + 8, dtype=np.uint8),
        )


@njit(cache=True)
def value(number: Number, leading: Leading, start: Limbs, position: np.uint64, scratch: Scratch) -> bool:
    """Put |((a·position + start)² - kN) / a| into scratch.value; say whether it is negative."""
    scratch.value[:] = np.uint64(0)
    scratch.value[0] = position
    limbs.multiply(leading.a, scratch.value, scratch.x)
    limbs.add(scratch.x, start)
    limbs.multiply(scratch.x, scratch.x, scratch.square)
    limbs.subtract(scratch.square, number.kn)
    limbs.multiply(scratch.square, leading.inverse, scratch.value)
    negative = bool(scratch.value[LIMBS - 1] >> np.uint64(63))
    if negative:
        limbs.negate(scratch.value)
    return negative


@njit(cache=True)
def divide(number: Number, scratch: Scratch, index: int, factors: U32, found: int) -> int:
    """Divide scratch.value by a prime as often as it goes; return the new number of factors."""
    prime, inverse = np.uint64(number.primes[index]), number.wide_inverses[index]
    while limbs.divide_exactly(scratch.value, prime, inverse, scratch.quotient):
        scratch.value[:] = scratch.quotient
        factors[found] = np.uint32(index)
        found += 1
    return found


@njit(cache=True)
def mark(number: Number, first: U32, second: U32, position: np.uint32, low: int, hits: U8) -> None:
    """Set hits[i] if position is congruent to a root; rarely also if it is not."""
    size = len(hits)
    primes_inverses, limits = number.inverses[low : low + size], number.limits[low : low + size]
    one, other = first[low : low + size], second[low : low + size]
    for i in range(size):
        left = np.uint32(np.uint32(position - one[i]) * primes_inverses[i])
        right = np.uint32(np.uint32(position - other[i]) * primes_inverses[i])
        hits[i] = np.uint8(left <= limits[i]) | np.uint8(right <= limits[i])


@njit(cache=True)
def relation(
    number: Number,
    leading: Leading,
    first: U32,
    second: U32,
    start: Limbs,
    polynomial: np.uint32,
    position: np.uint32,
    sieved_bits: int,
    scratch: Scratch,
    found: Found,
) -> None:
    """Divide the value at a position; add it to what is found if it is smooth enough."""
    negative = value(number, leading, start, np.uint64(position), scratch)
    before = limbs.bits(scratch.value)
    place = found.counts[1]
    factors = found.factors[place : place + MOST]
    count = 0
    if negative:
        factors[0] = np.uint32(0)
        count = 1
    if before:
        low = np.uint64(0)
        while scratch.value[0] == np.uint64(0):
            limbs.shift_right(scratch.value, np.uint64(32))
            low += np.uint64(32)
        more = limbs.trailing_zeros(scratch.value[0])
        limbs.shift_right(scratch.value, more)
        for _ in range(np.int64(low + more)):
            factors[count] = np.uint32(1)
            count += 1
    mark(number, first, second, position, 2, scratch.hits[2 : number.sieved])
    for index in range(2, number.sieved):
        if scratch.hits[index]:
            count = divide(number, scratch, index, factors, count)
    for index in leading.indices:
        count = divide(number, scratch, np.int64(index), factors, count)
    if before - limbs.bits(scratch.value) + sieved_bits < number.small_threshold:
        return
    size = len(number.primes)
    mark(number, first, second, position, number.sieved, scratch.hits[number.sieved : size])
    for index in range(number.sieved, size):
        if scratch.hits[index]:
            count = divide(number, scratch, index, factors, count)
    for index in range(1, LIMBS):
        if scratch.value[index]:
            return
    rest = scratch.value[0]
    one, other = np.uint64(1), rest
    if rest > np.uint64(number.large_bound):
        biggest = np.uint64(number.primes[size - 1])
        if rest <= biggest * biggest or rest > np.uint64(number.cofactor_bound):
            return
        one = cofactors.split(rest)
        if one == np.uint64(0):
            return
        other = rest // one
        if one > other:
            one, other = other, one
        if other > np.uint64(number.large_bound):
            return
    row = found.counts[0]
    found.polynomials[row] = polynomial
    found.positions[row] = position
    found.lengths[row] = np.uint8(count)
    found.large[row, 0] = np.uint32(one)
    found.large[row, 1] = np.uint32(other)
    found.counts[0] += 1
    found.counts[1] += count
    found.counts[2 if rest == np.uint64(1) else 3] += 1
