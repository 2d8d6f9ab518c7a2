"""The sieve proper: the logarithm of each prime is added wherever the polynomial's value is a multiple.

The interval as a whole stays in the second-level cache, where a random access costs hardly more than
in the first: so only near primes are sieved block by block, and no hits need sorting into buckets.
"""

from typing import Final

import numpy as np
from numba import njit

from factor_worker.engine.siqs.polynomials.factor_base import FIRST_ODD
from factor_worker.engine.siqs.polynomials.parameters import BLOCK
from factor_worker.engine.siqs.sieve.tables import HIT_BIT, Table, Work
from factor_worker.engine.siqs.words import lanes
from factor_worker.engine.siqs.words.arithmetic import ZERO, Limbs
from factor_worker.engine.siqs.words.arrays import Bytes, Ids
from factor_worker.engine.siqs.words.lanes import LANES, MANY

NOWHERE: Final = np.uint32(0xFFFFFFFF)
"""No position; it follows the last hit."""
WORD: Final = 8
"""Bytes."""
LINE: Final = 8
"""Words that are looked at together: a cache line."""
_HITS: Final = np.uint64(0x0101010101010101 * HIT_BIT)


@njit(cache=True)
def sieve(tables: Table, work: Work, step: Ids, add: bool) -> None:  # noqa: FBT001 kernels have no keywords
    """Move all roots by a step, added or subtracted, sieve, and list the candidates."""
    low, high = FIRST_ODD, tables.limits.far
    advance(work.first[low:high], step[low:high], tables.primes[low:high], add)
    advance(work.second[low:high], step[low:high], tables.primes[low:high], add)
    work.sieve[:] = np.uint8(tables.limits.start)
    far(tables, work, step, add)
    middle(tables, work)
    near(tables, work)


@njit(cache=True)
def advance(roots: Ids, deltas: Ids, primes: Ids, add: bool) -> None:  # noqa: FBT001
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
def far(tables: Table, work: Work, step: Ids, add: bool) -> None:  # noqa: FBT001
    """Move the roots of the far primes, list their hits, and sieve with them."""
    primes, groups = tables.primes, tables.groups
    first, second, hits, ends = work.first, work.second, work.hits, work.ends
    length = np.uint32(tables.limits.length)
    count = 0
    for group in range(len(groups)):
        start, stop, most, log = groups[group]
        before = count
        for index in range(start, stop, LANES):
            count = lanes.advance_and_collect(
                first, second, step, primes, hits, index, add, length, most, count
            )
        _add(work.sieve, hits[before:count], np.uint8(log))
        ends[group] = count
    hits[count : count + MANY] = NOWHERE


@njit(cache=True)
def _add(interval: Bytes, hits: Ids, log: np.uint8) -> None:
    for hit in hits:
        interval[hit] += log


@njit(cache=True)
def middle(tables: Table, work: Work) -> None:
    """Sieve the whole interval with each prime that is neither near nor far."""
    low, high = tables.limits.middle, tables.limits.far
    roots = work.first[low:high], work.second[low:high]
    sieve_whole(work.sieve, tables.primes[low:high], work.logs[low:high], roots)


@njit(cache=True)
def sieve_whole(interval: Bytes, primes: Ids, logs: Bytes, roots: tuple[Ids, Ids]) -> None:
    """Add the logarithm of each prime wherever one of its two roots repeats in the interval."""
    (first, second), length = roots, np.int64(len(interval))
    for index in range(len(primes)):
        p, log = np.int64(primes[index]), logs[index]
        lower = np.int64(min(first[index], second[index]))
        upper = np.int64(max(first[index], second[index]))
        while upper < length:
            interval[lower] += log
            interval[upper] += log
            lower += p
            upper += p
        if lower < length:
            interval[lower] += log


@njit(cache=True)
def near(tables: Table, work: Work) -> None:
    """Sieve with the near primes, and list the candidates of each block while it is at hand."""
    low, high = tables.limits.sieved, tables.limits.middle
    primes, logs = tables.primes[low:high], work.logs[low:high]
    lower, upper = work.lower[low:high], work.upper[low:high]
    for index in range(len(primes)):
        first, second = work.first[low + index], work.second[low + index]
        lower[index], upper[index] = min(first, second), max(first, second)
    words = work.sieve.view(np.uint64)
    count = 0
    for start in range(0, tables.limits.length, BLOCK):
        block = work.sieve[start : start + BLOCK]
        _sieve_block(block, primes, logs, (lower, upper))
        word = start // WORD
        count = scan(block, words[word : word + BLOCK // WORD], start, work.candidates, count)
    work.counts[0] = count


@njit(cache=True)
def _sieve_block(block: Bytes, primes: Ids, logs: Bytes, hits: tuple[Ids, Ids]) -> None:
    """Sieve a block, and move the next hits on to the block that follows."""
    lower, upper = hits
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
def scan(block: Bytes, words: Limbs, start: int, candidates: Ids, count: int) -> int:
    """List the positions of a block that took enough; return how many are listed now."""
    for line in range(0, len(words), LINE):
        together = ZERO
        for word in words[line : line + LINE]:
            together |= word
        if together & _HITS:
            for place in range(WORD * line, WORD * (line + LINE)):
                if block[place] & np.uint8(HIT_BIT):
                    candidates[count] = np.uint32(start + place)
                    count += 1
    return count
