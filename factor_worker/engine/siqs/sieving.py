"""The sieve proper: the logarithm of each prime is added wherever the polynomial's value is a multiple.

The interval as a whole stays in the second-level cache, where a random access costs hardly more than
in the first: so only near primes are sieved block by block, and no hits need sorting into buckets.
"""

from typing import Final

import numpy as np
from numba import njit

from factor_worker.engine.siqs import lanes
from factor_worker.engine.siqs.arithmetic import Limbs
from factor_worker.engine.siqs.factor_base import FIRST_ODD, Ids
from factor_worker.engine.siqs.lanes import LANES, MANY
from factor_worker.engine.siqs.parameters import BLOCK
from factor_worker.engine.siqs.tables import HIT_BIT, Bytes, Table, Work

NOWHERE: Final = np.uint32(0xFFFFFFFF)
"""No position; it follows the last hit."""
WORDS: Final = BLOCK // 8
LINE: Final = 8
"""Words of a block that are looked at together: a cache line."""
_HITS: Final = np.uint64(0x0101010101010101 * HIT_BIT)
_BYTES: Final = 8


@njit(cache=True)
def sieve(tables: Table, work: Work, step: Ids, add: bool) -> None:  # noqa: FBT001 kernels have no keywords
    """Move all roots by a step, added or subtracted, sieve, and list the candidates."""
    limits = tables.limits
    interval = work.sieve
    low, high = FIRST_ODD, limits.far
    _advance(work.first[low:high], step[low:high], tables.primes[low:high], add)
    _advance(work.second[low:high], step[low:high], tables.primes[low:high], add)
    interval[:] = np.uint8(limits.start)
    _far(tables, work, step, add)
    low, high = limits.middle, limits.far
    _middle(
        interval,
        tables.primes[low:high],
        work.logs[low:high],
        work.first[low:high],
        work.second[low:high],
    )
    low, high = limits.sieved, limits.middle
    near = tables.primes[low:high], work.logs[low:high], work.lower[low:high], work.upper[low:high]
    _begin_near(work.first[low:high], work.second[low:high], near[2], near[3])
    count = 0
    words = interval.view(np.uint64)
    for start in range(0, limits.length, BLOCK):
        block = interval[start : start + BLOCK]
        _near(block, near[0], near[1], near[2], near[3])
        first_word = start // _BYTES
        count = _scan(block, words[first_word : first_word + WORDS], start, work.candidates, count)
    work.counts[0] = count


@njit(cache=True)
def _advance(roots: Ids, deltas: Ids, primes: Ids, add: bool) -> None:  # noqa: FBT001
    """Add the deltas to the roots modulo the primes, or subtract them.

    Of r and r ± p the one that did not leave the range is the smaller unsigned number.
    """
    if add:
        for index in range(len(roots)):
            moved = np.uint32(roots[index] + deltas[index])
            other = np.uint32(moved - primes[index])
            roots[index] = min(moved, other)
    else:
        for index in range(len(roots)):
            moved = np.uint32(roots[index] - deltas[index])
            other = np.uint32(moved + primes[index])
            roots[index] = min(moved, other)


@njit(cache=True)
def _far(tables: Table, work: Work, step: Ids, add: bool) -> None:  # noqa: FBT001
    """Move the roots of the far primes, collect their hits, and sieve with them."""
    primes, groups = tables.primes, tables.groups
    first, second, hits, ends = work.first, work.second, work.hits, work.ends
    length = np.uint32(tables.limits.length)
    count = 0
    for group in range(len(groups)):
        start, stop, most, log = groups[group]
        before = count
        for index in range(start, stop, LANES):
            count = lanes.advance_and_collect(
                first, second, step, primes, index, add, length, most, hits, count
            )
        _add(work.sieve, hits[before:count], np.uint8(log))
        ends[group] = count
    hits[count : count + MANY] = NOWHERE


@njit(cache=True)
def _add(interval: Bytes, hits: Ids, log: np.uint8) -> None:
    for hit in hits:
        interval[hit] += log


@njit(cache=True)
def _middle(interval: Bytes, primes: Ids, logs: Bytes, first: Ids, second: Ids) -> None:
    """Sieve the whole interval with each of some primes."""
    length = np.int64(len(interval))
    for index in range(len(primes)):
        p, log = np.int64(primes[index]), logs[index]
        one, other = np.int64(first[index]), np.int64(second[index])
        low, high = min(one, other), max(one, other)
        while high < length:
            interval[low] += log
            interval[high] += log
            low += p
            high += p
        if low < length:
            interval[low] += log


@njit(cache=True)
def _begin_near(first: Ids, second: Ids, lower: Ids, upper: Ids) -> None:
    for index in range(len(first)):
        lower[index] = min(first[index], second[index])
        upper[index] = max(first[index], second[index])


@njit(cache=True)
def _near(block: Bytes, primes: Ids, logs: Bytes, lower: Ids, upper: Ids) -> None:
    """Sieve a block with the near primes, and move their hits on to the next block."""
    for index in range(len(primes)):
        p, log = np.int64(primes[index]), logs[index]
        low, high = np.int64(lower[index]), np.int64(upper[index])
        while high < BLOCK:
            block[low] += log
            block[high] += log
            low += p
            high += p
        if low < BLOCK:
            block[low] += log
            low, high = high, low + p
        lower[index] = np.uint32(low - BLOCK)
        upper[index] = np.uint32(high - BLOCK)


@njit(cache=True)
def _scan(block: Bytes, words: Limbs, start: int, candidates: Ids, count: int) -> int:
    """List the positions of a block that took enough; return how many are listed now."""
    for line in range(0, WORDS, LINE):
        together = np.uint64(0)
        for word in words[line : line + LINE]:
            together |= word
        if together & _HITS:
            for place in range(_BYTES * line, _BYTES * (line + LINE)):
                if block[place] & np.uint8(HIT_BIT):
                    candidates[count] = np.uint32(start + place)
                    count += 1
    return count
