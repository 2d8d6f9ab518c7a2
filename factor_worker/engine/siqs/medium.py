"""Medium primes: those that hit every block, sieved block by block."""

from typing import Final

import numpy as np
from numba import njit

from factor_worker.engine.siqs.factor_base import Ids
from factor_worker.engine.siqs.parameters import BLOCK
from factor_worker.engine.siqs.tables import SPARE, Bytes, Table, Words16, Work

LIMIT: Final = np.uint64(BLOCK)
_SPARE_MASK: Final = np.uint64(SPARE - 1)
_ZERO: Final = np.uint64(0)


@njit(cache=True)
def advance(roots: Ids, deltas: Ids, primes: Ids, add: bool) -> None:  # noqa: FBT001 kernels have no keywords
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
def begin(tables: Table, work: Work) -> None:
    """Set the next hits of the medium primes to those in the first block."""
    low, high = tables.limits.sieved, tables.limits.large
    work.first16[:] = work.first[low:high]
    work.second16[:] = work.second[low:high]


@njit(cache=True)
def sieve(tables: Table, work: Work) -> None:
    """Add the logarithms of all medium primes to a block, and move on to the next block."""
    logs = work.logs[tables.limits.sieved : tables.limits.large]
    for group in range(len(tables.groups)):
        low, high, times = tables.groups[group]
        primes, group_logs = tables.primes16[low:high], logs[low:high]
        roots = work.first16[low:high], work.second16[low:high]
        # the compiler makes a loop of its own of each constant
        if times == 1:
            _sieve_group(work.block, primes, group_logs, roots, 1)
        elif times == 2:  # noqa: PLR2004
            _sieve_group(work.block, primes, group_logs, roots, 2)
        elif times == 3:  # noqa: PLR2004
            _sieve_group(work.block, primes, group_logs, roots, 3)
        elif times == 4:  # noqa: PLR2004
            _sieve_group(work.block, primes, group_logs, roots, 4)
        else:
            _sieve_group(work.block, primes, group_logs, roots, times)


@njit(cache=True, inline="always")
def _sieve_group(
    block: Bytes, primes: Words16, logs: Bytes, roots: tuple[Words16, Words16], times: int
) -> None:
    """Sieve primes of which each root hits a block `times` times for certain, and perhaps once more.

    The hit that may fall outside is not a branch: then it falls on one of the spare bytes.
    """
    first, second = roots
    for index in range(len(primes)):
        p, log = np.uint64(primes[index]), logs[index]
        one, other = np.uint64(first[index]), np.uint64(second[index])
        for _ in range(times):
            block[one] += log
            block[other] += log
            one += p
            other += p
        spare = LIMIT + (np.uint64(index) & _SPARE_MASK)
        block[min(one, spare)] += log
        block[min(other, spare)] += log
        one += p if one < LIMIT else _ZERO
        other += p if other < LIMIT else _ZERO
        first[index] = one - LIMIT
        second[index] = other - LIMIT


@njit(cache=True)
def clear(block: Bytes, start: int) -> None:
    """Set all bytes of a block to what they start from."""
    block[:] = np.uint8(start)
