"""Structured Gaussian elimination: a smaller, denser matrix with the same dependencies.

Rows are relation-sets, columns are primes of the factor base. A column with one entry goes with its
row. A column with a few goes too: one of its rows is added to the others, along a minimum spanning
tree of the rows' distances, and then removed. What was added to what is kept, so that dependencies
of the small matrix can be expressed in the original rows.

Source: LaMacchia and Odlyzko, "Solving large sparse linear systems over finite fields" (1990);
Cavallar, "Strategies in filtering in the number field sieve" (2000) for the spanning trees.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from factor_worker.engine.siqs.sparse import Ids, Index, Rows, Words, from_lengths

MAX_WEIGHT: Final = 10
"""Columns with more entries than this are never eliminated: what they save is lost in fill."""
ROW_COST: Final = 60
"""What Lanczos pays for a row in a pass besides its entries, in entries (see `lanczos`)."""
ENOUGH_GAIN: Final = 0.002
"""Passes end when one of them removes less than this part of the rows."""

Bits = npt.NDArray[np.bool_]


class Merged(NamedTuple):
    """A merged matrix and how its rows came about."""

    rows: Rows
    """Over the original columns; empty columns and empty rows may occur."""
    survivors: Index
    """The original index of each row."""
    added: Index
    """int64[k, 2]: row `added[i, 0]` was added to row `added[i, 1]`, in this order."""
    originals: int

    def expand(self, vectors: Words) -> Words:
        """Express 64 combinations of the merged rows as combinations of the original ones."""
        words = np.zeros(self.originals, dtype=np.uint64)
        words[self.survivors] = vectors
        _undo(self.added, words)
        return words


def merge(rows: Rows, columns: int) -> Merged:
    """Eliminate columns for as long as that makes Lanczos cheaper.

    Lanczos costs rows·(entries + ROW_COST·rows): a merge that removes one row and adds f entries
    pays while f < entries/rows + 2·ROW_COST. The bound is approached in steps, cheap merges first.
    """
    state = _State(rows)
    bound = 0
    while True:
        before = state.alive_count
        average = state.entries // max(1, before)
        state.eliminate(columns, MAX_WEIGHT, bound)
        removed = before - state.alive_count
        if removed <= ENOUGH_GAIN * before:
            if bound >= average + 2 * ROW_COST:
                return state.result()
            bound += max(4, average // 4)


class _State:
    """Rows that are being merged: their columns lie in one pool, new ones at its end."""

    def __init__(self, rows: Rows) -> None:
        self._pool = rows.columns
        self._starts = rows.offsets[:-1].copy()
        self._lengths = rows.lengths.copy()
        self._alive = np.ones(rows.count, dtype=np.bool_)
        self._added: list[Index] = []

    @property
    def alive_count(self) -> int:
        return int(np.count_nonzero(self._alive))

    @property
    def entries(self) -> int:
        return int(self._lengths[self._alive].sum())

    def eliminate(self, columns: int, weight: int, bound: int) -> None:
        """Make one pass over all columns of at most this weight."""
        room = np.empty(int(1.3 * self.entries) + 100_000, dtype=np.uint32)
        end = _pack(self._pool, self._starts, self._lengths, self._alive, room)
        self._pool = room
        added = _eliminate(
            room, end, self._starts, self._lengths, self._alive, columns, weight, bound
        )
        self._added.append(added)

    def result(self) -> Merged:
        survivors = np.flatnonzero(self._alive)
        offsets = from_lengths(self._lengths[survivors])
        packed = np.empty(int(offsets[-1]), dtype=np.uint32)
        _pack(self._pool, self._starts, self._lengths, self._alive, packed)
        added = np.concatenate(self._added)
        return Merged(Rows(offsets, packed), survivors, added, len(self._alive))


@njit(cache=True)
def _pack(pool: Ids, starts: Index, lengths: Index, alive: Bits, room: Ids) -> int:
    end = 0
    for row in range(len(starts)):
        if alive[row]:
            length = lengths[row]
            room[end : end + length] = pool[starts[row] : starts[row] + length]
            starts[row] = end
            end += length
    return end


@njit(cache=True)
def _distance(pool: Ids, left: int, left_end: int, right: int, right_end: int) -> int:
    """Return how many entries the sum of two rows has."""
    count = 0
    while left < left_end and right < right_end:
        a, b = pool[left], pool[right]
        left += a <= b
        right += b <= a
        count += a != b
    return count + (left_end - left) + (right_end - right)


@njit(cache=True)
def _add(pool: Ids, left: int, left_end: int, right: int, right_end: int, end: int) -> int:
    """Write the sum of two rows at `end`; return where it ends."""
    while left < left_end and right < right_end:
        a, b = pool[left], pool[right]
        pool[end] = min(a, b)
        left += a <= b
        right += b <= a
        end += a != b
    while left < left_end:
        pool[end] = pool[left]
        left += 1
        end += 1
    while right < right_end:
        pool[end] = pool[right]
        right += 1
        end += 1
    return end


@njit(cache=True)
def _light_columns(
    pool: Ids, starts: Index, lengths: Index, alive: Bits, columns: int, weight: int
) -> tuple[Index, Index, Index]:
    """Return the columns of weight 1 to `weight`, lightest first, and their rows (offsets, rows)."""
    weights = np.zeros(columns, np.int64)
    for row in range(len(starts)):
        if alive[row]:
            for column in pool[starts[row] : starts[row] + lengths[row]]:
                weights[column] += 1
    offsets = np.zeros(columns + 1, np.int64)
    tally = np.zeros(weight + 2, np.int64)
    for column in range(columns):
        light = weights[column] if weights[column] <= weight else 0
        offsets[column + 1] = offsets[column] + light
        if light:
            tally[light + 1] += 1
    tally = np.cumsum(tally)
    order = np.empty(tally[-1], np.int64)
    for column in range(columns):
        light = offsets[column + 1] - offsets[column]
        if light:
            order[tally[light]] = column
            tally[light] += 1
    at = offsets[:-1].copy()
    members = np.empty(offsets[-1], np.int64)
    for row in range(len(starts)):
        if alive[row]:
            for column in pool[starts[row] : starts[row] + lengths[row]]:
                if offsets[column + 1] > offsets[column]:
                    members[at[column]] = row
                    at[column] += 1
    return order, offsets, members


@njit(cache=True)
def _spanning_tree(
    pool: Ids, starts: Index, lengths: Index, rows: Index, order: Index, parent: Index
) -> int:
    """Find the minimum spanning tree of a few rows (Prim); return the entries after the merge.

    `order` receives the rows' positions as they join the tree, `parent` where each one hangs. The
    root, the shortest row, joins first and is the row that a merge removes.
    """
    count = len(rows)
    nearest = np.full(count, 1 << 62, np.int64)
    root = 0
    for index in range(1, count):
        if lengths[rows[index]] < lengths[rows[root]]:
            root = index
    inside = np.zeros(count, np.bool_)
    total, current = 0, root
    for joined in range(count):
        inside[current] = True
        order[joined] = current
        start = starts[rows[current]]
        end = start + lengths[rows[current]]
        best = -1
        for index in range(count):
            if not inside[index]:
                other = starts[rows[index]]
                distance = _distance(pool, start, end, other, other + lengths[rows[index]])
                if distance < nearest[index]:
                    nearest[index] = distance
                    parent[index] = current
                if best < 0 or nearest[index] < nearest[best]:
                    best = index
        if best >= 0:
            total += nearest[best]
            current = best
    return total


@njit(cache=True)
def _eliminate(
    pool: Ids,
    end: int,
    starts: Index,
    lengths: Index,
    alive: Bits,
    columns: int,
    weight: int,
    bound: int,
) -> Index:
    """Eliminate columns whose rows no other elimination of this pass has touched.

    Within a pass the lists of rows stay true without upkeep: a column can come into a row only from
    a row that had it, and that one is marked as touched.
    """
    light, offsets, members = _light_columns(pool, starts, lengths, alive, columns, weight)
    touched = np.zeros(len(starts), np.bool_)
    order, parent = np.empty(weight, np.int64), np.empty(weight, np.int64)
    added = np.empty((len(starts), 2), np.int64)
    operations = 0
    for column in light:
        rows = members[offsets[column] : offsets[column + 1]]
        before, free = 0, True
        for row in rows:
            free = free and not touched[row]
            before += lengths[row]
        if not free:
            continue
        after = _spanning_tree(pool, starts, lengths, rows, order, parent)
        if after - before > bound or end + after > len(pool):
            continue
        # The last to join are leaves: going backwards, every parent is still as it was.
        for index in range(len(rows) - 1, 0, -1):
            target, source = rows[order[index]], rows[parent[order[index]]]
            start = end
            end = _add(
                pool,
                starts[source],
                starts[source] + lengths[source],
                starts[target],
                starts[target] + lengths[target],
                end,
            )
            starts[target], lengths[target] = start, end - start
            added[operations, 0], added[operations, 1] = source, target
            operations += 1
        alive[rows[order[0]]] = False
        touched[rows] = True
    return added[:operations].copy()


@njit(cache=True)
def _undo(added: Index, words: Words) -> None:
    """Go back through the additions: whoever takes the target takes its source as well."""
    for index in range(len(added) - 1, -1, -1):
        words[added[index, 0]] ^= words[added[index, 1]]


def warm() -> None:
    """Compile, or load from the cache, everything in this module."""
    rows = Rows(np.array([0, 1, 2, 3]), np.zeros(3, dtype=np.uint32))
    merged = merge(rows, 1)
    merged.expand(np.zeros(merged.rows.count, dtype=np.uint64))
