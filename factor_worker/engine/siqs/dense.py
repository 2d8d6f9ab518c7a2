"""Dense linear algebra over GF(2): Gaussian elimination by the Method of the Four Russians.

Columns are cleared 32 at a time. The up to 32 pivot rows of such a panel are reduced against each
other; then every sum of pivot rows that the eight bits of one byte can ask for is tabulated, and a
row is cleared with four table rows instead of 32 pivot rows.
Source: Albrecht, Bard and Hart, "Algorithm 898: Efficient multiplication of dense matrices over
GF(2)" (2010), and Bard's thesis (2007).
"""

from typing import Final

import numpy as np
from numba import njit

from factor_worker.engine.siqs.sparse import WORD, Ids, Index, Rows, Words

PANEL: Final = 32
"""Columns that are cleared together."""
STRIPE: Final = 32
"""Words of a row that are updated together: four tables of 256 such stripes fit into the L2 cache."""


def dependencies(rows: Rows, columns: int) -> Words:
    """Return up to 64 independent combinations of rows that sum to zero: uint64[rows].

    Bit i of word j says whether row j takes part in combination i. Combinations that do not exist
    are empty.
    """
    matrix = _packed(rows.offsets, rows.columns, columns)
    pivots, rank = _echelon(matrix, rows.count)
    return _kernel(matrix, pivots[:rank], rows.count)


@njit(cache=True)
def _packed(offsets: Index, columns: Ids, width: int) -> Words:
    """Pack the transposed matrix: one line of bits per column, bit j for row j.

    This way round the reduced matrix shows its kernel without anybody keeping track of it.
    """
    count = len(offsets) - 1
    matrix = np.zeros((width, (count + 63) // 64), np.uint64)
    for row in range(count):
        bit = np.uint64(1) << np.uint64(row & 63)
        for column in columns[offsets[row] : offsets[row + 1]]:
            matrix[column, row >> 6] ^= bit
    return matrix


@njit(cache=True)
def _echelon(matrix: Words, width: int) -> tuple[Index, int]:
    """Bring the lines into echelon form in place; return each pivot's bit and the rank.

    Each panel's pivots are reduced against each other, but not against later ones.
    """
    lines, words = matrix.shape
    pivots = np.empty(min(lines, width), np.int64)
    table = np.empty((4, 256, STRIPE), np.uint64)
    bytes_of = np.empty((lines, 4), np.uint8)
    rank = 0
    for first in range(0, width, PANEL):
        word, low = first >> 6, np.uint64(first & 63)
        found = _panel(matrix, rank, word, low, pivots, first)
        if not found:
            continue
        for line in range(rank + found, lines):
            bits = matrix[line, word] >> low
            for byte in range(4):
                bytes_of[line, byte] = (bits >> np.uint64(8 * byte)) & np.uint64(255)
        for start in range(word, words, STRIPE):
            stop = min(start + STRIPE, words)
            _tabulate(matrix, table, pivots, rank, found, first, start, stop)
            _clear(matrix[:, start:stop], table, bytes_of, rank + found)
        rank += found
    return pivots, rank


@njit(cache=True)
def _panel(matrix: Words, rank: int, word: int, low: int, pivots: Index, first: int) -> int:
    """Move the panel's pivot lines to `rank` and below, reduced against each other; count them."""
    lines = len(matrix)
    mask = np.uint64(0xFFFFFFFF) << low
    found = 0
    line = rank
    while line < lines and found < PANEL:
        bits = matrix[line, word]
        for index in range(found):
            if bits >> np.uint64(pivots[rank + index] & 63) & np.uint64(1):
                bits ^= matrix[rank + index, word]
        if bits & mask:
            target = rank + found
            if line != target:
                for at in range(word, matrix.shape[1]):
                    matrix[line, at], matrix[target, at] = matrix[target, at], matrix[line, at]
            for index in range(found):
                if matrix[target, word] >> np.uint64(pivots[rank + index] & 63) & np.uint64(1):
                    matrix[target, word:] ^= matrix[rank + index, word:]
            place = low
            while not (matrix[target, word] >> place) & np.uint64(1):
                place += np.uint64(1)
            for index in range(found):
                if (matrix[rank + index, word] >> place) & np.uint64(1):
                    matrix[rank + index, word:] ^= matrix[target, word:]
            pivots[target] = (word << 6) + np.int64(place)
            found += 1
        line += 1
    return found


@njit(cache=True)
def _tabulate(
    matrix: Words,
    table: Words,
    pivots: Index,
    rank: int,
    found: int,
    first: int,
    start: int,
    stop: int,
) -> None:
    """Tabulate for each byte of the panel what its value asks for; bits without a pivot ask nothing."""
    size = stop - start
    table[:, 0, :] = 0
    line_of = np.full(PANEL, -1, np.int64)
    for index in range(found):
        line_of[pivots[rank + index] - first] = rank + index
    for byte in range(4):
        for bit in range(8):
            line = line_of[8 * byte + bit]
            half = 1 << bit
            for value in range(half):
                for at in range(size):
                    more = matrix[line, start + at] if line >= 0 else np.uint64(0)
                    table[byte, half + value, at] = table[byte, value, at] ^ more


@njit(cache=True)
def _clear(stripe: Words, table: Words, bytes_of: Words, start: int) -> None:
    size = stripe.shape[1]
    for line in range(start, len(stripe)):
        one = table[0, bytes_of[line, 0]]
        two = table[1, bytes_of[line, 1]]
        three = table[2, bytes_of[line, 2]]
        four = table[3, bytes_of[line, 3]]
        target = stripe[line]
        for at in range(np.uint64(size)):
            target[at] ^= one[at] ^ two[at] ^ three[at] ^ four[at]


@njit(cache=True)
def _kernel(matrix: Words, pivots: Index, width: int) -> Words:
    """Set one free bit to 1 in each combination and let every pivot, from the last on, answer."""
    words = np.zeros(width, np.uint64)
    is_pivot = np.zeros(width, np.bool_)
    is_pivot[pivots] = True
    free = 0
    for bit in range(width - 1, -1, -1):
        if not is_pivot[bit] and free < WORD:
            words[bit] = np.uint64(1) << np.uint64(free)
            free += 1
    for line in range(len(pivots) - 1, -1, -1):
        pivot = pivots[line]
        total = np.uint64(0)
        # Bits before the pivot's panel are stale: pivots of earlier panels have cleared them.
        for word in range(pivot >> 6, matrix.shape[1]):
            bits = matrix[line, word]
            at = word << 6
            while bits:
                if bits & np.uint64(1) and at != pivot:
                    total ^= words[at]
                bits >>= np.uint64(1)
                at += 1
        words[pivot] = total
    return words


def warm() -> None:
    """Compile, or load from the cache, everything in this module."""
    dependencies(Rows(np.array([0, 1, 2]), np.zeros(2, dtype=np.uint32)), 1)
