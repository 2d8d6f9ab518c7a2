"""The sieve proper: logarithms of primes are taken off at the multiples of their roots.

The interval as a whole stays in the second-level cache. Near primes, with many hits in a block of
the first-level cache, are sieved block by block; the others go over the whole interval at once.
"""

import numpy as np
from numba import njit

from factor_worker.engine.siqs import initialisation, lanes
from factor_worker.engine.siqs.lanes import LANES
from factor_worker.engine.siqs.tables import BESIDE, BLOCK, U8, U32, Leading, Number, Workspace

WORDS = BLOCK // 8
LINE = 8
"""Words of a cache line, looked at together."""
FULL = np.uint64(0x8080808080808080)
"""A byte's highest bit is set when its position has taken more than the threshold."""


@njit(cache=True)
def polynomial(number: Number, leading: Leading, work: Workspace, step: U32, forward: bool) -> int:
    """Move the roots by a step, sieve, and return how many candidates there are."""
    work.sieve[:] = np.uint8(number.threshold)
    near = number.far
    initialisation.advance(number.primes[:near], step[:near], work.first[:near], forward)
    initialisation.advance(number.primes[:near], step[:near], work.second[:near], forward)
    initialisation.forget(leading, work.first, work.second)
    _far(number, work, step, forward)
    _middle(number, work)
    return _near(number, work)


@njit(cache=True)
def _far(number: Number, work: Workspace, step: U32, forward: bool) -> None:
    """Move the roots of the far primes and sieve with them."""
    length = np.uint32(number.length)
    groups = number.groups
    count = 0
    for group in range(len(groups)):
        begin, end, rounds = groups[group, 0], groups[group, 1], groups[group, 2]
        before = count
        for block in range(begin, end, LANES):
            count = lanes.advance_and_collect(
                work.first,
                work.second,
                step,
                number.primes,
                block,
                forward,
                length,
                rounds,
                work.hits,
                count,
            )
        _take(work.sieve, work.hits[before:count], np.uint8(groups[group, 3]))
        work.ends[group] = count
    work.hits[count : count + BESIDE] = initialisation.NOWHERE


@njit(cache=True)
def _take(sieve: U8, hits: U32, log: np.uint8) -> None:
    for hit in hits:
        sieve[hit] -= log


@njit(cache=True)
def _middle(number: Number, work: Workspace) -> None:
    """Sieve the whole interval with the primes between near and far."""
    sieve, length = work.sieve, np.int64(number.length)
    for i in range(number.middle, min(number.far, number.size)):
        prime, log = np.int64(number.primes[i]), number.logs[i]
        one, other = np.int64(work.first[i]), np.int64(work.second[i])
        low, high = min(one, other), max(one, other)
        while high < length:
            sieve[low] -= log
            sieve[high] -= log
            low += prime
            high += prime
        if low < length:
            sieve[low] -= log


@njit(cache=True)
def _near(number: Number, work: Workspace) -> int:
    """Sieve block by block with the near primes; collect the candidates of each block."""
    found = 0
    words = work.sieve.view(np.uint64)
    for i in range(number.sieved, number.middle):
        work.lower[i] = min(work.first[i], work.second[i])
        work.upper[i] = max(work.first[i], work.second[i])
    for begin in range(0, number.length, BLOCK):
        _near_block(number, work, work.sieve[begin : begin + BLOCK])
        found = _scan(work, words[begin // 8 : begin // 8 + WORDS], begin, found)
    return found


@njit(cache=True)
def _near_block(number: Number, work: Workspace, sieve: U8) -> None:
    for i in range(number.sieved, number.middle):
        prime, log = np.int64(number.primes[i]), number.logs[i]
        low, high = np.int64(work.lower[i]), np.int64(work.upper[i])
        if high > NOWHERE_FROM:
            continue
        while high < BLOCK:
            sieve[low] -= log
            sieve[high] -= log
            low += prime
            high += prime
        if low < BLOCK:
            sieve[low] -= log
            low, high = high, low + prime
        work.lower[i] = np.uint32(low - BLOCK)
        work.upper[i] = np.uint32(high - BLOCK)


NOWHERE_FROM = 1 << 31
"""Positions above this belong to primes of a."""


@njit(cache=True)
def _scan(work: Workspace, words: U8, begin: int, found: int) -> int:
    """Append the candidates of a block."""
    for line in range(0, WORDS, LINE):
        together = np.uint64(0)
        for word in words[line : line + LINE]:
            together |= word
        if together & FULL:
            for position in range(begin + 8 * line, begin + 8 * (line + LINE)):
                if work.sieve[position] & np.uint8(128):
                    work.candidates[found] = np.uint32(position)
                    found += 1
    return found
