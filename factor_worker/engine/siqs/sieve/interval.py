"""Sieving one polynomial: the logarithm of each prime is added wherever it divides the value.

The whole interval stays in the second-level cache, where a random access costs hardly more than in the
first as long as many are under way. So only near primes are sieved block by block, and hits are not
sorted into buckets. `tables.Limits` says which primes are near, middle and far.
"""

from typing import Final

import numpy as np
from numba import njit

from factor_worker.engine.siqs.polynomials.factor_base import FIRST_ODD
from factor_worker.engine.siqs.polynomials.parameters import BLOCK
from factor_worker.engine.siqs.sieve.tables import CANDIDATE_BIT, Tables, Workspace
from factor_worker.engine.siqs.words import lanes
from factor_worker.engine.siqs.words.arithmetic import ZERO
from factor_worker.engine.siqs.words.arrays import Bytes, Ids, Limbs
from factor_worker.engine.siqs.words.lanes import CHUNK, LANES

NOWHERE: Final = np.uint32(0xFFFFFFFF)
"""No position: it fills the list of hits up to a whole chunk."""
WORD_BYTES: Final = 8
"""Sieve bytes in a word."""
LINE_WORDS: Final = 8
"""Words in a cache line, which are scanned for candidates together."""
_CANDIDATE_BITS: Final = np.uint64(0x0101010101010101 * CANDIDATE_BIT)


@njit(cache=True)
def sieve(tables: Tables, work: Workspace, step: Ids, add: bool) -> None:  # noqa: FBT001 kernels have no keywords
    """Move all roots by a step, added or subtracted, sieve the interval, and list the candidates."""
    low, high = FIRST_ODD, tables.limits.first_far
    advance(work.roots1[low:high], step[low:high], tables.primes[low:high], add)
    advance(work.roots2[low:high], step[low:high], tables.primes[low:high], add)
    work.sieve[:] = np.uint8(tables.limits.initial_byte)
    sieve_far(tables, work, step, add)
    sieve_middle(tables, work)
    sieve_near(tables, work)


@njit(cache=True)
def advance(roots: Ids, deltas: Ids, primes: Ids, add: bool) -> None:  # noqa: FBT001
    """Add the deltas to the roots modulo the primes, or subtract them, in place.

    Of the moved root r and r ± p, the one in range is the smaller as an unsigned number. Written so, the
    loops become vector instructions.
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
def sieve_far(tables: Tables, work: Workspace, step: Ids, add: bool) -> None:  # noqa: FBT001
    """Move the roots of the far primes, list their hits group by group, and sieve with them.

    A group shares one logarithm, so its hits are sieved without looking at primes again.
    """
    primes, groups = tables.primes, tables.groups
    first, second, hits, ends = work.roots1, work.roots2, work.hits, work.hit_ends
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
    hits[count : count + CHUNK] = NOWHERE


@njit(cache=True)
def _add(interval: Bytes, hits: Ids, log: np.uint8) -> None:
    for hit in hits:
        interval[hit] += log


@njit(cache=True)
def sieve_middle(tables: Tables, work: Workspace) -> None:
    """Sieve with the middle primes, each over the whole interval."""
    low, high = tables.limits.first_middle, tables.limits.first_far
    roots = work.roots1[low:high], work.roots2[low:high]
    sieve_whole_interval(work.sieve, tables.primes[low:high], work.logs[low:high], roots)


@njit(cache=True)
def sieve_whole_interval(interval: Bytes, primes: Ids, logs: Bytes, roots: tuple[Ids, Ids]) -> None:
    """Add the logarithm of each prime at every position congruent to one of its two roots."""
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
def sieve_near(tables: Tables, work: Workspace) -> None:
    """Sieve with the near primes block by block, and list each block's candidates while it is in cache."""
    low, high = tables.limits.first_sieved, tables.limits.first_middle
    primes, logs = tables.primes[low:high], work.logs[low:high]
    lower, upper = work.lower[low:high], work.upper[low:high]
    for index in range(len(primes)):
        first, second = work.roots1[low + index], work.roots2[low + index]
        lower[index], upper[index] = min(first, second), max(first, second)
    words = work.sieve.view(np.uint64)
    count = 0
    for start in range(0, tables.limits.length, BLOCK):
        block = work.sieve[start : start + BLOCK]
        _sieve_block(block, primes, logs, (lower, upper))
        word = start // WORD_BYTES
        count = scan(block, words[word : word + BLOCK // WORD_BYTES], start, work.candidates, count)
    work.candidate_count[0] = count


@njit(cache=True)
def _sieve_block(block: Bytes, primes: Ids, logs: Bytes, hits: tuple[Ids, Ids]) -> None:
    """Sieve a block, and leave the next hits relative to the start of the following block."""
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
    """List the positions of a block whose byte has `CANDIDATE_BIT` set; return how many are listed now.

    `words` is the block as uint64, `start` its first position, `count` how many were listed before.
    """
    for line in range(0, len(words), LINE_WORDS):
        together = ZERO
        for word in words[line : line + LINE_WORDS]:
            together |= word
        if together & _CANDIDATE_BITS:
            for place in range(WORD_BYTES * line, WORD_BYTES * (line + LINE_WORDS)):
                if block[place] & np.uint8(CANDIDATE_BIT):
                    candidates[count] = np.uint32(start + place)
                    count += 1
    return count
