"""Dense linear algebra over GF(2): Gaussian elimination by the Method of the Four Russians.

The matrix lies on its side: a *line* is a prime, a bit of a line is a relation-set. Bits are cleared 32 at
a time. The pivot lines of such a panel, up to 32, are reduced against each other; then all 256 sums of
pivot lines that one byte can select are tabulated, so that a line is cleared with four table entries
instead of 32 pivot lines.

Source: Albrecht, Bard and Hart, "Algorithm 898: Efficient multiplication of dense matrices over GF(2)"
(2010), and Bard's thesis (2007).
"""

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from factor_worker.engine.siqs.solve.sparse import WORD_BITS, Rows
from factor_worker.engine.siqs.words.arithmetic import ONE, leading_zeros
from factor_worker.engine.siqs.words.arrays import Index, Words

PANEL: Final = 32
"""Bits of a line that are cleared together."""
STRIPE: Final = 32
"""Words of a line that are updated together: four tables of 256 such stripes fit into the L2 cache."""


def dependencies(rows: Rows, columns: int) -> Words:
    """Return up to 64 independent dependencies, sets of rows that sum to zero: uint64[rows.height].

    Bit i of word j says whether row j belongs to dependency i. If there are fewer than 64, the other bits
    are 0. Rows name columns below `columns`; a column that a row names twice cancels.
    """
    matrix = _packed(rows, columns)
    pivots, rank = _echelon(matrix, rows.height)
    return _null_space(matrix, pivots[:rank], rows.height)


@njit(cache=True)
def _packed(rows: Rows, width: int) -> Words:
    """Return the transposed matrix in packed form: one line of bits per column, bit j for row j.

    This way round, the dependencies can be read off the echelon form; no second matrix records which rows
    were added to which.
    """
    count = len(rows.offsets) - 1
    matrix = np.zeros((width, (count + 63) // 64), np.uint64)
    for row in range(count):
        bit = np.uint64(1) << np.uint64(row & 63)
        for column in rows.columns[rows.offsets[row] : rows.offsets[row + 1]]:
            matrix[column, row >> 6] ^= bit
    return matrix


@njit(cache=True)
def _echelon(matrix: Words, width: int) -> tuple[Index, int]:
    """Bring the lines into echelon form in place; return each pivot line's bit, and the rank.

    Pivot lines of one panel are reduced by each other, but not by those of later panels.
    """
    lines, words = matrix.shape
    pivots = np.empty(min(lines, width), np.int64)
    table = np.empty((4, 256, min(STRIPE, words)), np.uint64)
    panel_bytes = np.empty((lines, 4), np.uint8)
    rank = 0
    for first in range(0, width, PANEL):
        word, low = first >> 6, np.uint64(first & 63)
        found = _find_pivots(matrix, rank, word, low, pivots)
        if not found:
            continue
        for line in range(rank + found, lines):
            bits = matrix[line, word] >> low
            for byte in range(4):
                panel_bytes[line, byte] = (bits >> np.uint64(8 * byte)) & np.uint64(255)
        for start in range(word, words, STRIPE):
            stop = min(start + STRIPE, words)
            _tabulate(
                matrix[rank : rank + found, start:stop], table, pivots[rank : rank + found], first
            )
            _clear_below(matrix[:, start:stop], table, panel_bytes, rank + found)
        rank += found
    return pivots, rank


@njit(cache=True)
def _find_pivots(matrix: Words, rank: int, word: int, low: np.uint64, pivots: Index) -> int:
    """Move the panel's pivot lines to `rank` and below, reduced by each other; return how many there are."""
    mask = np.uint64(0xFFFFFFFF) << low
    found = 0
    for line in range(rank, len(matrix)):
        bits = matrix[line, word]
        for pivot in range(rank, rank + found):
            if _is_set(bits, pivots[pivot]):
                bits ^= matrix[pivot, word]
        if bits & mask:
            _move_into_panel(matrix, line, rank, rank + found, pivots)
            bit = low
            while not bits >> bit & np.uint64(1):
                bit += np.uint64(1)
            pivots[rank + found] = (word << 6) + np.int64(bit)
            _clear_in_panel(matrix, rank, rank + found, pivots)
            found += 1
            if found == PANEL:
                break
    return found


@njit(cache=True)
def _is_set(bits: np.uint64, bit: int) -> bool:
    return bool((bits >> np.uint64(bit & 63)) & np.uint64(1))


@njit(cache=True)
def _move_into_panel(matrix: Words, line: int, first: int, target: int, pivots: Index) -> None:
    """Swap a line with the one behind the panel's pivot lines, and reduce it by these."""
    for at in range(matrix.shape[1]):
        matrix[line, at], matrix[target, at] = matrix[target, at], matrix[line, at]
    for pivot in range(first, target):
        if _is_set(matrix[target, pivots[pivot] >> 6], pivots[pivot]):
            _add(matrix, target, pivot)


@njit(cache=True)
def _clear_in_panel(matrix: Words, first: int, target: int, pivots: Index) -> None:
    """Clear the newest pivot's bit in the panel's other pivot lines."""
    word = pivots[target] >> 6
    for pivot in range(first, target):
        if _is_set(matrix[pivot, word], pivots[target]):
            _add(matrix, pivot, target)


@njit(cache=True)
def _add(matrix: Words, target: int, line: int) -> None:
    """Add a line to another one, word by word: with slices numba would make a copy."""
    for at in range(matrix.shape[1]):
        matrix[target, at] ^= matrix[line, at]


@njit(cache=True)
def _tabulate(lines: Words, table: Words, pivots: Index, first: int) -> None:
    """Tabulate the sum of pivot lines for each value of each byte of the panel; other bits add nothing."""
    table[:, 0, :] = 0
    line_of = np.full(PANEL, -1, np.int64)
    for line in range(len(pivots)):
        line_of[pivots[line] - first] = line
    for byte in range(4):
        for bit in range(8):
            line = line_of[8 * byte + bit]
            half = 1 << bit
            table[byte, half : 2 * half] = table[byte, :half]
            if line >= 0:
                for value in range(half, 2 * half):
                    for at in range(lines.shape[1]):
                        table[byte, value, at] ^= lines[line, at]


@njit(cache=True)
def _clear_below(
    stripe: Words, table: Words, panel_bytes: npt.NDArray[np.uint8], start: int
) -> None:
    size = stripe.shape[1]
    for line in range(start, len(stripe)):
        one = table[0, panel_bytes[line, 0]]
        two = table[1, panel_bytes[line, 1]]
        three = table[2, panel_bytes[line, 2]]
        four = table[3, panel_bytes[line, 3]]
        target = stripe[line]
        for at in range(np.uint64(size)):
            target[at] ^= one[at] ^ two[at] ^ three[at] ^ four[at]


@njit(cache=True)
def _null_space(matrix: Words, pivots: Index, width: int) -> Words:
    """Return a basis of the null space: one free bit each, and the pivots that follow, from the last on."""
    words = np.zeros(width, np.uint64)
    is_pivot = np.zeros(width, np.bool_)
    is_pivot[pivots] = True
    free = 0
    for bit in range(width - 1, -1, -1):
        if not is_pivot[bit] and free < WORD_BITS:
            words[bit] = np.uint64(1) << np.uint64(free)
            free += 1
    for line in range(len(pivots) - 1, -1, -1):
        pivot = pivots[line]
        total = np.uint64(0)  # the pivot's own word is still 0, so its bit adds nothing
        # Words before the pivot's are zero: pivots of earlier panels cleared them.
        for word in range(pivot >> 6, matrix.shape[1]):
            bits = matrix[line, word]
            while bits:
                at = (word << 6) + 63 - np.int64(leading_zeros(bits))
                bits ^= ONE << np.uint64(at & 63)
                total ^= words[at]
        words[pivot] = total
    return words


def warm() -> None:
    """Compile, or load from the cache, everything in this module."""
    dependencies(Rows(np.array([0, 1, 2]), np.zeros(2, dtype=np.uint32)), 1)
