"""Candidates: positions where enough logarithms came together are divided out, and kept or dropped."""

from typing import Final

import numpy as np
from numba import njit

from factor_worker.engine.siqs import cofactor
from factor_worker.engine.siqs.arithmetic import (
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
from factor_worker.engine.siqs.buckets import POSITION, POSITION_BITS
from factor_worker.engine.siqs.factor_base import FIRST_ODD, MINUS_ONE, TWO, Ids
from factor_worker.engine.siqs.parameters import BLOCK
from factor_worker.engine.siqs.tables import HIT_BIT, Found, Table, Work

LENIENCE: Final = 8
"""Bits by which rounded logarithms may be wrong."""
_WORD_BITS: Final = np.uint64(64)
_HITS: Final = np.uint64(0x0101010101010101 * HIT_BIT)
_BYTES: Final = np.uint64(8)
_WORDS: Final = np.uint64(BLOCK // 8)
_STRIDE: Final = np.uint64(8)
"""Words of the sieve that are looked at together, and byte by byte if any has a hit."""
_STRETCH: Final = np.uint64(64)
"""Bucket entries that are looked at together, and one by one if any matches."""


@njit(cache=True)
def scan(tables: Table, work: Work, found: Found, number: int, block: int) -> bool:
    """Look through a sieved block; return False if there is no room left for relations."""
    sieve = work.block
    words = sieve.view(np.uint64)
    word = ZERO
    while word < _WORDS:
        any_bits = ZERO
        for place in range(word, word + _STRIDE):
            any_bits |= words[place]
        if any_bits & _HITS:
            for position in range(_BYTES * word, _BYTES * (word + _STRIDE)):
                if sieve[position] & HIT_BIT and not _examine(
                    tables, work, found, number, block * BLOCK + np.int64(position)
                ):
                    return False
        word += _STRIDE
    return True


@njit(cache=True)
def _examine(tables: Table, work: Work, found: Found, number: int, where: np.int64) -> bool:
    """Divide out one candidate, and keep it if it is a relation; return False if there is no room."""
    limits = tables.limits
    value, quotient, factors = work.value, work.quotient, work.factors
    primes, inverses = tables.primes, tables.inverses
    block, position = where // BLOCK, where % BLOCK
    count = _evaluate(value, quotient, (work.a, work.b, work.c), where - limits.reach, factors)
    for index in range(FIRST_ODD, limits.sieved):
        p, far = np.uint64(primes[index]), np.uint64(where)
        rest = far - (far * tables.magics[index] >> np.uint64(32)) * p
        if rest == work.first[index] or rest == work.second[index]:
            count = _divide_out(value, quotient, p, inverses[index], index, factors, count)
    sieved = np.int64(np.uint8(work.block[position] - limits.start))
    if bit_length(value) - sieved > limits.left + LENIENCE:
        return True
    matches = _mark_medium(tables, work, position)
    matches = _mark_large(work, block, position, limits.large, matches)
    for index in work.matches[:matches]:
        p = np.uint64(primes[index])
        count = _divide_out(value, quotient, p, inverses[index], index, factors, count)
    for index in work.factors_of_a:
        p = np.uint64(primes[index])
        count = _divide_out(value, quotient, p, inverses[index], index, factors, count)
    return _keep(tables, work, found, (number, where), count)


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
def _divide_out(  # noqa: PLR0913, PLR0917 arrays one by one: a whole table costs more than the division
    value: Limbs, quotient: Limbs, p: Word, inverse: Word, index: int, factors: Ids, count: int
) -> int:
    """Divide the value by a prime as often as it goes, noting it each time."""
    while divide(quotient, value, p, inverse):
        for limb in range(len(value)):
            value[limb] = quotient[limb]
        factors[count] = index
        count += 1
    return count


@njit(cache=True)
def _mark_medium(tables: Table, work: Work, position: np.int64) -> int:
    """Note the medium primes whose roots lie a multiple of p from the position; return how many.

    Roots are seen from the next block by now. An odd p divides a 16-bit distance if and only if
    distance · p⁻¹ mod 2^16 is at most 65535/p (Granlund and Montgomery 1994).
    """
    base = np.uint16(BLOCK - position)
    inverses, quotients, flags = tables.inverses16, tables.quotients16, work.flags
    first, second = work.first16, work.second16
    for place in range(len(inverses)):
        one = np.uint16(np.uint16(base + first[place]) * inverses[place])
        other = np.uint16(np.uint16(base + second[place]) * inverses[place])
        flags[place] = min(one, other) <= quotients[place]
    words = flags.view(np.uint64)
    count = 0
    for word in range(len(words)):
        if words[word]:
            for place in range(8 * word, 8 * word + 8):
                if flags[place]:
                    work.matches[count] = tables.limits.sieved + place
                    count += 1
    return count


@njit(cache=True)
def _mark_large(work: Work, block: np.int64, position: np.int64, large: int, count: int) -> int:
    """Note the large primes that the block's bucket holds for the position; return the new count.

    The stretch that is looked at last may reach into the next bucket: its matches do not count.
    """
    buckets, matches = work.buckets, work.matches
    low = np.uint64(work.ends[0, block])
    high = np.uint64(work.ends[len(work.ends) - 1, block])
    wanted, mask = np.uint32(position), np.uint32(POSITION)
    while low < high:
        any_match = np.uint32(0)
        for place in range(low, low + _STRETCH):
            any_match |= np.uint32(np.uint32(buckets[place] & mask) == wanted)
        if any_match:
            for place in range(low, min(low + _STRETCH, high)):
                entry = buckets[place]
                if np.uint32(entry & mask) == wanted and count < len(matches):
                    matches[count] = large + np.int64(entry >> np.uint32(POSITION_BITS))
                    count += 1
        low += _STRETCH
    return count


@njit(cache=True)
def _keep(tables: Table, work: Work, found: Found, place: tuple[int, np.int64], count: int) -> bool:
    """Write down a relation if what is left of the value is 1 or large primes; False if it is full."""
    for limb in range(1, len(work.value)):
        if work.value[limb] != ZERO:
            return True
    small, large = _large_primes(tables, work.value[0])
    if large == ZERO:
        return True
    relation, factors = found.counts[0], found.counts[1]
    if relation == len(found.numbers) or factors + count > len(found.factors):
        return False
    for factor in range(count):
        found.factors[factors + factor] = work.factors[factor]
    found.numbers[relation], found.positions[relation] = place
    found.large[relation, 0], found.large[relation, 1] = small, large
    found.ends[relation] = factors + count
    found.counts[0], found.counts[1] = relation + 1, factors + count
    return True


@njit(cache=True)
def _large_primes(tables: Table, rest: Word) -> tuple[Word, Word]:
    """Return the large primes, ascending, that are left of a value, or (0, 0) if it is no relation.

    A rest in the base, which only a full bucket can leave, is none.
    """
    limits = tables.limits
    largest, bound = np.uint64(tables.primes[-1]), np.uint64(limits.large_bound)
    if rest == ONE or largest < rest <= bound:
        return ONE, rest
    if largest * largest < rest <= np.uint64(limits.cofactor_bound) and cofactor.is_composite(rest):
        divisor = cofactor.split(rest)
        small, large = min(divisor, rest // divisor), max(divisor, rest // divisor)
        if largest < small and large <= bound:
            return small, large
    return ZERO, ZERO
