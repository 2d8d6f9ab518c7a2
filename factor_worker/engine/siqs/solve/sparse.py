"""Sparse matrices over GF(2) in compressed rows: the form in which `solve` hands them from step to step."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numba import njit

from factor_worker.engine.siqs.words.arrays import Ids, Index, Words

WORD_BITS: Final = 64
"""Vectors over GF(2) are handled 64 at a time: bit i of word j is coordinate j of vector i."""


class Rows(NamedTuple):
    """The columns of each row's ones: row i is `columns[offsets[i]:offsets[i + 1]]`, ascending in a matrix.

    Factor lists of relations have this form too; there a prime occurs as often as it divides.
    """

    offsets: Index
    """int64[height + 1]."""
    columns: Ids
    """uint32."""

    @property
    def height(self) -> int:
        """How many rows there are."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Index:
        """How many entries each row has."""
        return np.diff(self.offsets)

    def row(self, index: int) -> Ids:
        """Return one row's columns."""
        return self.columns[self.offsets[index] : self.offsets[index + 1]]


def stacked(parts: Sequence[Rows]) -> Rows:
    """Return the rows of all parts, one part after the other."""
    lengths = [np.zeros(0, dtype=np.int64), *(part.lengths for part in parts)]
    columns = [np.zeros(0, dtype=np.uint32), *(part.columns for part in parts)]
    return Rows(from_lengths(np.concatenate(lengths)), np.concatenate(columns))


def take(rows: Rows, chosen: Index) -> Rows:
    """Return the chosen rows, in the order of `chosen`."""
    offsets = from_lengths(rows.lengths[chosen])
    return Rows(offsets, _taken(rows, chosen, offsets))


def from_lengths(lengths: Index) -> Index:
    """Return the offsets of rows of these lengths."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def transpose(rows: Rows, columns: int) -> Rows:
    """Return the transposed matrix: for each of its columns the rows that have it, ascending."""
    offsets = from_lengths(np.bincount(rows.columns, minlength=columns).astype(np.int64))
    return Rows(offsets, _transposed(rows, offsets))


def combine(sets: Rows, rows: Rows, columns: int) -> Rows:
    """Return for each set of rows their sum over GF(2): the columns that occur an odd number of times.

    `sets` lists rows as its columns. A row may list a column more than once, and in any order.
    """
    room = int(rows.lengths[sets.columns].sum())
    offsets, found = _combined(sets, rows, columns, room)
    return Rows(offsets, found.copy())


def product(rows: Rows, vectors: Words, columns: int) -> Words:
    """Return 64 vectors, uint64[height], times the matrix: uint64[columns]."""
    return _product(rows, vectors, columns)


@njit(cache=True)
def _taken(rows: Rows, chosen: Index, offsets: Index) -> Ids:
    found = np.empty(offsets[-1], np.uint32)
    for index in range(len(chosen)):
        row = chosen[index]
        found[offsets[index] : offsets[index + 1]] = rows.columns[
            rows.offsets[row] : rows.offsets[row + 1]
        ]
    return found


@njit(cache=True)
def _transposed(rows: Rows, starts: Index) -> Ids:
    at = starts[:-1].copy()
    found = np.empty(len(rows.columns), np.uint32)
    for row in range(len(rows.offsets) - 1):
        for column in rows.columns[rows.offsets[row] : rows.offsets[row + 1]]:
            found[at[column]] = row
            at[column] += 1
    return found


@njit(cache=True)
def _combined(sets: Rows, rows: Rows, columns: int, room: int) -> tuple[Index, Ids]:
    odd = np.zeros(columns, np.bool_)
    found = np.empty(room, np.uint32)
    starts = np.zeros(len(sets.offsets), np.int64)
    end = 0
    for one in range(len(sets.offsets) - 1):
        start = end
        for member in sets.columns[sets.offsets[one] : sets.offsets[one + 1]]:
            for column in rows.columns[rows.offsets[member] : rows.offsets[member + 1]]:
                odd[column] = not odd[column]
                found[end] = column
                end += 1
        # Every touched column is listed, some repeatedly: keep each odd one once.
        touched, end = end, start
        for entry in range(start, touched):
            column = found[entry]
            if odd[column]:
                odd[column] = False
                found[end] = column
                end += 1
        found[start:end].sort()
        starts[one + 1] = end
    return starts, found[:end]


@njit(cache=True)
def _product(rows: Rows, vectors: Words, width: int) -> Words:
    total = np.zeros(width, np.uint64)
    for row in range(len(rows.offsets) - 1):
        word = vectors[row]
        for column in rows.columns[rows.offsets[row] : rows.offsets[row + 1]]:
            total[column] ^= word
    return total


def warm() -> None:
    """Compile, or load from the cache, everything in this module."""
    rows = Rows(np.array([0, 1, 2]), np.array([0, 1], dtype=np.uint32))
    combine(take(rows, np.array([1, 0])), transpose(rows, 2), 2)
    product(rows, np.zeros(2, dtype=np.uint64), 2)
