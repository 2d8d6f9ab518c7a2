"""Linear algebra: which relation-sets multiply to a square, by the fastest method for the matrix."""

import contextlib
import time
from collections.abc import Callable
from typing import Final

import numpy as np

from factor_worker.engine.siqs.solve import dense, filtering, lanczos, merging, sparse
from factor_worker.engine.siqs.solve.sparse import WORD_BITS, Rows
from factor_worker.engine.siqs.words.arrays import Index, Words

EXCESS: Final = 64
"""Rows kept of the merged matrix beyond its columns: more than 64 dependencies do not fit a word."""
DENSE_ROWS: Final = 4_000
"""Up to this many rows dense elimination is faster; Lanczos is also unreliable on small matrices."""
ATTEMPTS: Final = 8
"""Seeds that Lanczos may break down on before it is given up."""
REPORT_S: Final = 0.5
"""Seconds between two reports."""

Report = Callable[[int, int, int], None]
"""Called with the height of the matrix that is worked on, the number of rows dealt with, and of all rows."""


def dependencies(rows: Rows, columns: int, report: Report) -> Words:
    """Return up to 64 independent dependencies, sets of rows that sum to zero: uint64[rows.height].

    Bit i of word j says whether row j belongs to dependency i. Each is checked on the matrix as given;
    one that fails is dropped. There are none if every seed of Lanczos fails.
    """
    report(rows.height, 0, rows.height)
    merged = merging.merge(rows, columns)
    small = merged.rows
    report(small.height, 0, small.height)
    occupied = int(np.count_nonzero(np.bincount(small.columns)))
    kept = filtering.lightest(small, occupied + EXCESS)
    vectors = np.zeros(small.height, dtype=np.uint64)
    vectors[kept] = _solve(sparse.take(small, kept), columns, report)
    words = merged.expand(vectors)
    wrong: np.uint64 = np.bitwise_or.reduce(sparse.product(rows, words, columns))
    return words & ~wrong


def count(words: Words) -> int:
    """Return how many dependencies there are."""
    return int(np.bitwise_or.reduce(words)).bit_count()


def members(words: Words) -> list[Index]:
    """Return the rows of each dependency."""
    found = [np.flatnonzero(words >> np.uint64(bit) & np.uint64(1)) for bit in range(WORD_BITS)]
    return [rows for rows in found if len(rows)]


def _solve(rows: Rows, columns: int, report: Report) -> Words:
    if rows.height <= DENSE_ROWS:
        return dense.dependencies(rows, columns)
    throttled = _Throttled(report, rows.height)
    for seed in range(ATTEMPTS):
        with contextlib.suppress(lanczos.Breakdown):
            words = lanczos.dependencies(rows, columns, seed=seed, report=throttled)
            if words.any():
                return words
    return np.zeros(rows.height, dtype=np.uint64)


class _Throttled:
    """Passes reports on, not more often than every `REPORT_S`."""

    def __init__(self, report: Report, rows: int) -> None:
        self._report = report
        self._rows = rows
        self._next = time.monotonic() + REPORT_S

    def __call__(self, done: int, of: int) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + REPORT_S
            self._report(self._rows, done, of)


def warm() -> None:
    """Compile, or load from the cache, everything that linear algebra needs."""
    for module in (sparse, merging, dense, lanczos):
        module.warm()
