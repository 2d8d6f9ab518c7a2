"""Large primes: hits are rare, so they are sorted by block first and added block by block.

A bucket entry has the index of its prime, counted from the first large one, in the upper 17 bits and
its position in the block in the lower 15.
"""

from typing import Final

import numpy as np
from numba import njit

from factor_worker.engine.siqs.arithmetic import Word
from factor_worker.engine.siqs.medium import advance
from factor_worker.engine.siqs.parameters import BLOCK
from factor_worker.engine.siqs.tables import CHUNK, Table, Work

POSITION_BITS: Final = np.uint64(15)
POSITION: Final = np.uint64(BLOCK - 1)
_HALF: Final = np.uint64(32)
_ONE: Final = np.uint64(1)
_ZERO: Final = np.uint64(0)


@njit(cache=True)
def fill(tables: Table, work: Work, delta: np.int64, add: bool) -> None:  # noqa: FBT001 kernels have no keywords
    """Renew the roots of all large primes by a row of deltas (none if -1), and fill the buckets.

    A chunk that might not fit into the buckets is left out, which loses relations at worst; the
    buckets are made for ten standard deviations more than the expected hits.
    """
    limits = tables.limits
    blocks, capacity, large = limits.blocks, limits.capacity, limits.large
    ends = work.ends
    for block in range(blocks + 1):
        ends[0, block] = block * capacity
    for chunk in range(len(tables.chunks)):
        low, high, times, _log = tables.chunks[chunk]
        if delta >= 0:
            deltas, primes = work.deltas[delta, low:high], tables.primes[low:high]
            advance(work.first[low:high], deltas, primes, add)
            advance(work.second[low:high], deltas, primes, add)
        ends[chunk + 1] = ends[chunk]
        room = capacity
        for block in range(blocks):
            room = min(room, (block + 1) * capacity - ends[chunk, block])
        ends[chunk + 1, blocks] = blocks * capacity
        if room < 2 * CHUNK:
            continue
        if times > 0:
            _every_root(tables, work, chunk, np.uint64(low - large))
        else:
            _roots_that_hit(tables, work, chunk, np.uint64(low - large))


@njit(cache=True)
def _every_root(tables: Table, work: Work, chunk: int, offset: Word) -> None:
    """Enter primes below the interval: each root hits `times` times, and perhaps once more.

    The hit that may fall outside is not a branch: then it goes to a bucket that nobody reads.
    """
    low, high, times, _log = tables.chunks[chunk]
    blocks = np.uint64(tables.limits.blocks)
    end, buckets = work.ends[chunk + 1], work.buckets
    primes, first, second = tables.primes[low:high], work.first[low:high], work.second[low:high]
    for index in range(len(primes)):
        p, one, other = np.uint64(primes[index]), np.uint64(first[index]), np.uint64(second[index])
        mark = (np.uint64(index) + offset) << POSITION_BITS
        for _ in range(times):
            block = one >> POSITION_BITS
            at = end[block]
            buckets[np.uint64(at)] = mark | (one & POSITION)
            end[block] = at + 1
            block = other >> POSITION_BITS
            at = end[block]
            buckets[np.uint64(at)] = mark | (other & POSITION)
            end[block] = at + 1
            one += p
            other += p
        block = min(one >> POSITION_BITS, blocks)
        at = end[block]
        buckets[np.uint64(at)] = mark | (one & POSITION)
        end[block] = at + 1
        block = min(other >> POSITION_BITS, blocks)
        at = end[block]
        buckets[np.uint64(at)] = mark | (other & POSITION)
        end[block] = at + 1


@njit(cache=True)
def _roots_that_hit(tables: Table, work: Work, chunk: int, offset: Word) -> None:
    """Enter primes above the interval: pick the roots that hit, then enter those."""
    low, high, _times, _log = tables.chunks[chunk]
    interval = np.uint64(tables.limits.blocks) << POSITION_BITS
    end, buckets, hits = work.ends[chunk + 1], work.buckets, work.hits
    first, second = work.first[low:high], work.second[low:high]
    count = _ZERO
    for index in range(len(first)):
        mark = (np.uint64(index) + offset) << _HALF
        one, other = np.uint64(first[index]), np.uint64(second[index])
        hits[count] = mark | one
        count += _ONE if one < interval else _ZERO
        hits[count] = mark | other
        count += _ONE if other < interval else _ZERO
    for hit in hits[:count]:
        position = hit & np.uint64(0xFFFFFFFF)
        block = position >> POSITION_BITS
        at = end[block]
        buckets[np.uint64(at)] = (hit >> _HALF << POSITION_BITS) | (position & POSITION)
        end[block] = at + 1


@njit(cache=True)
def apply(tables: Table, work: Work, block: int) -> None:
    """Add the logarithms of all hits of a block."""
    sieve = work.block
    for chunk in range(len(tables.chunks)):
        log = np.uint8(tables.chunks[chunk, 3])
        for entry in work.buckets[work.ends[chunk, block] : work.ends[chunk + 1, block]]:
            sieve[np.uint64(entry) & POSITION] += log
