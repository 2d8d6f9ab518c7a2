"""Candidates: positions where enough logarithms came together are divided out, and kept or dropped."""

from typing import Final

import numpy as np
from numba import njit

from factor_worker.engine.siqs import cofactor
from factor_worker.engine.siqs.arithmetic import (
    ONE,
    ZERO,
    Limbs,
    add_product,
    divide,
    is_negative,
    negate,
    subtract_product,
    trailing_zeros,
)
from factor_worker.engine.siqs.buckets import POSITION, POSITION_BITS
from factor_worker.engine.siqs.factor_base import FIRST_ODD, MINUS_ONE, TWO
from factor_worker.engine.siqs.parameters import BLOCK
from factor_worker.engine.siqs.tables import HIT_BIT, Found, Ids, Table, Words16, Work

STRIDE: Final = 64
"""Primes, bucket entries or sieve bytes that are looked at together, and one by one if any matches."""
LENIENCE: Final = 4
"""Bits by which rounded logarithms may be wrong."""
_WORD_BITS: Final = np.uint64(64)
_HITS: Final = np.uint64(0x0101010101010101 * HIT_BIT)
_ROUNDS: Final = BLOCK // 64


@njit(cache=True)
def scan(tables: Table, work: Work, found: Found, number: int, block: int) -> bool:
    """Look through a sieved block; return False if there is no room left for relations."""
    sieve = work.block[:BLOCK]
    words = sieve.view(np.uint64)
    for round_ in range(_ROUNDS):
        any_bits = ZERO
        for word in words[8 * round_ : 8 * round_ + 8]:
            any_bits |= word
        if any_bits & _HITS == ZERO:
            continue
        for position in range(STRIDE * round_, STRIDE * round_ + STRIDE):
            if sieve[position] & HIT_BIT and not _examine(
                tables, work, found, number, block, position
            ):
                return False
    return True


@njit(cache=True)
def _examine(
    tables: Table, work: Work, found: Found, number: int, block: int, position: int
) -> bool:
    """Divide out one candidate, and keep it if it is a relation; return False if there is no room."""
    limits = tables.limits
    x = block * BLOCK + position - limits.reach
    count = _evaluate(work, x)
    known = np.int64(np.uint8(work.block[position] - limits.start))
    known += count - (1 if count and work.factors[0] == MINUS_ONE else 0)
    sieved = limits.sieved
    where = np.uint64(block * BLOCK + position)
    for index in range(FIRST_ODD, sieved):
        p = np.uint64(tables.primes[index])
        rest = where - (where * tables.magics[index] >> np.uint64(32)) * p
        if rest == work.first[index] or rest == work.second[index]:
            before = count
            count = _divide_out(tables, work, index, count)
            known += (count - before) * np.int64(tables.logs[index])
    if known < limits.strict - LENIENCE:
        return True
    count = _medium_factors(tables, work, position, count)
    count = _large_factors(tables, work, block, position, count)
    for index in work.factors_of_a:
        count = _divide_out(tables, work, index, count)
    return _keep(tables, work, found, number, np.uint64(where), count)


@njit(cache=True)
def _evaluate(work: Work, x: int) -> int:
    """Set `work.value` to |Q(x)| / 2^i; return how many factors were noted: -1 and the twos."""
    value, slope = work.value, work.quotient
    value[:] = work.c
    slope[:] = work.b
    if x >= 0:
        add_product(slope, work.a, np.uint64(x))
        add_product(value, slope, np.uint64(x))
    else:
        subtract_product(slope, work.a, np.uint64(-x))
        subtract_product(value, slope, np.uint64(-x))
    count = 0
    if is_negative(value):
        negate(value)
        work.factors[count] = MINUS_ONE
        count += 1
    twos = trailing_zeros(value[0])
    _shift_right(value, twos)
    for _ in range(twos):
        work.factors[count] = TWO
        count += 1
    return count


@njit(cache=True)
def _shift_right(value: Limbs, bits: int) -> None:
    """Shift by 1 to 63 bits, or by none, in place."""
    if bits == ZERO or bits == _WORD_BITS:
        return
    for limb in range(len(value) - 1):
        value[limb] = (value[limb] >> bits) | (value[limb + 1] << (_WORD_BITS - bits))
    value[len(value) - 1] >>= bits


@njit(cache=True)
def _divide_out(tables: Table, work: Work, index: int, count: int) -> int:
    """Divide the value by a prime as often as it goes, noting it each time."""
    p, inverse = np.uint64(tables.primes[index]), tables.inverses[index]
    while divide(work.quotient, work.value, p, inverse):
        work.value[:] = work.quotient
        work.factors[count] = index
        count += 1
    return count


@njit(cache=True)
def _medium_factors(tables: Table, work: Work, position: int, count: int) -> int:
    """Divide out the medium primes whose roots lie a multiple of p from the position.

    Roots are seen from the next block by now. An odd p divides a 16-bit distance if and only if
    distance · p⁻¹ mod 2^16 is at most 65535/p (Granlund and Montgomery 1994).
    """
    limits = tables.limits
    base = np.uint16(BLOCK - position)
    sieved = limits.sieved
    medium = len(tables.primes16)
    for low in range(0, medium, STRIDE):
        high = min(low + STRIDE, medium)
        inverses, quotients = tables.inverses16[low:high], tables.quotients16[low:high]
        first, second = work.first16[low:high], work.second16[low:high]
        if not _any_multiple(base, inverses, quotients, first, second):
            continue
        for place in range(high - low):
            one = np.uint16(np.uint16(base + first[place]) * inverses[place])
            other = np.uint16(np.uint16(base + second[place]) * inverses[place])
            if one <= quotients[place] or other <= quotients[place]:
                count = _divide_out(tables, work, sieved + low + place, count)
    return count


@njit(cache=True)
def _any_multiple(
    base: int, inverses: Words16, quotients: Words16, first: Words16, second: Words16
) -> bool:
    """Say whether any of these primes divides the distance from one of its roots."""
    matches = np.uint16(0)
    for place in range(len(inverses)):
        one = np.uint16(np.uint16(base + first[place]) * inverses[place])
        other = np.uint16(np.uint16(base + second[place]) * inverses[place])
        matches |= np.uint16(min(one, other) <= quotients[place])
    return matches != 0


@njit(cache=True)
def _large_factors(tables: Table, work: Work, block: int, position: int, count: int) -> int:
    """Divide out the large primes that the block's bucket holds for the position."""
    large = tables.limits.large
    entries = work.buckets[work.ends[0, block] : work.ends[len(work.ends) - 1, block]]
    wanted = np.uint32(position)
    mask = np.uint32(POSITION)
    whole = len(entries) // STRIDE * STRIDE
    for low in range(0, whole, STRIDE):
        matches = np.uint32(0)
        for entry in entries[low : low + STRIDE]:
            matches |= np.uint32(np.uint32(entry & mask) == wanted)
        if matches:
            count = _matching(tables, work, entries[low : low + STRIDE], wanted, large, count)
    return _matching(tables, work, entries[whole:], wanted, large, count)


@njit(cache=True)
def _matching(tables: Table, work: Work, entries: Ids, wanted: int, large: int, count: int) -> int:
    for entry in entries:
        if np.uint32(entry & np.uint32(POSITION)) == wanted:
            index = large + np.int64(entry >> np.uint32(POSITION_BITS))
            count = _divide_out(tables, work, index, count)
    return count


@njit(cache=True)
def _keep(tables: Table, work: Work, found: Found, number: int, position: int, count: int) -> bool:
    """Write down a relation if what is left of the value is 1 or large primes; False if it is full."""
    for limb in work.value[1:]:
        if limb != ZERO:
            return True
    rest = work.value[0]
    small = ONE
    bound = np.uint64(tables.limits.large_bound)
    if rest > bound:
        largest = np.uint64(tables.primes[len(tables.primes) - 1])
        if rest < largest * largest or rest > np.uint64(tables.limits.cofactor_bound):
            return True
        if not cofactor.is_composite(rest):
            return True
        small = cofactor.split(rest)
        rest = rest // small
        small, rest = min(small, rest), max(small, rest)
        if small == ONE or rest > bound:
            return True
    relation, factors = found.counts
    if relation == len(found.numbers) or factors + count > len(found.factors):
        return False
    found.factors[factors : factors + count] = work.factors[:count]
    found.numbers[relation], found.positions[relation] = number, position
    found.large[relation, 0], found.large[relation, 1] = small, rest
    found.ends[relation] = factors + count
    found.counts[0], found.counts[1] = relation + 1, factors + count
    return True
