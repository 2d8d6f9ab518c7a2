"""Trial division: from a position where the sieve saw enough to a relation, or to nothing."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from factor_worker.engine.siqs import cofactors, lanes, limbs
from factor_worker.engine.siqs.lanes import LANES
from factor_worker.engine.siqs.limbs import LIMBS, Limbs
from factor_worker.engine.siqs.tables import U8, U32, Leading, Number, Workspace

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
def value(number: Number, leading: Leading, start: Limbs, position: np.uint64, work: Workspace) -> bool:
    """Put |((a·position + start)² - kN) / a| into work.value; say whether it is negative."""
    work.value[:] = np.uint64(0)
    work.value[0] = position
    limbs.multiply(leading.a, work.value, work.x)
    limbs.add(work.x, start)
    limbs.multiply(work.x, work.x, work.square)
    limbs.subtract(work.square, number.kn)
    limbs.multiply(work.square, leading.inverse, work.value)
    negative = bool(work.value[LIMBS - 1] >> np.uint64(63))
    if negative:
        limbs.negate(work.value)
    return negative


@njit(cache=True)
def divide(number: Number, work: Workspace, index: int, factors: U32, found: int) -> int:
    """Divide work.value by a prime as often as it goes; return the new number of factors."""
    prime, inverse = np.uint64(number.primes[index]), number.wide_inverses[index]
    while limbs.divide_exactly(work.value, prime, inverse, work.quotient):
        work.value[:] = work.quotient
        factors[found] = np.uint32(index)
        found += 1
    return found


@njit(cache=True)
def divide_near(
    number: Number, work: Workspace, begin: int, end: int, position: np.uint32, factors: U32, found: int
) -> int:
    """Divide by those primes of a range that have the position among the multiples of a root."""
    for block in range(begin & -LANES, end, LANES):
        mask = lanes.congruent(
            work.first, work.second, number.inverses, number.limits, block, position
        )
        while mask:
            index = block + np.int64(limbs.trailing_zeros(mask))
            mask &= mask - np.uint64(1)
            if begin <= index < end:
                found = divide(number, work, index, factors, found)
    return found


@njit(cache=True)
def divide_sparse(number: Number, work: Workspace, position: np.uint32, factors: U32, found: int) -> int:
    """Divide by those primes longer than the interval that have a root at the position."""
    for block in range(number.sparse, len(number.primes), LANES):
        mask = lanes.equal(work.first, work.second, block, position)
        while mask:
            index = block + np.int64(limbs.trailing_zeros(mask))
            mask &= mask - np.uint64(1)
            found = divide(number, work, index, factors, found)
    return found


@njit(cache=True)
def relation(
    number: Number,
    leading: Leading,
    start: Limbs,
    polynomial: np.uint32,
    position: np.uint32,
    work: Workspace,
    found: Found,
) -> None:
    """Divide the value at a position; add it to what is found if it is smooth enough."""
    negative = value(number, leading, start, np.uint64(position), work)
    before = limbs.bits(work.value)
    place = found.counts[1]
    factors = found.factors[place : place + MOST]
    count = 0
    if negative:
        factors[0] = np.uint32(0)
        count = 1
    if before:
        low = np.uint64(0)
        while work.value[0] == np.uint64(0):
            limbs.shift_right(work.value, np.uint64(32))
            low += np.uint64(32)
        more = limbs.trailing_zeros(work.value[0])
        limbs.shift_right(work.value, more)
        for _ in range(np.int64(low + more)):
            factors[count] = np.uint32(1)
            count += 1
    count = divide_near(number, work, 2, number.sieved, position, factors, count)
    for index in leading.indices:
        count = divide(number, work, np.int64(index), factors, count)
    sieved_bits = number.threshold + 256 - np.int64(work.sieve[position])
    if before - limbs.bits(work.value) + sieved_bits < number.small_threshold:
        return
    count = divide_near(number, work, number.sieved, number.sparse, position, factors, count)
    count = divide_sparse(number, work, position, factors, count)
    for index in range(1, LIMBS):
        if work.value[index]:
            return
    rest = work.value[0]
    one, other = np.uint64(1), rest
    if rest > np.uint64(number.large_bound):
        biggest = np.uint64(number.primes[number.size - 1])
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
