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
from numba import njit

from factor_worker.engine.siqs.solve.sparse import Rows, from_lengths
from factor_worker.engine.siqs.words.arrays import Bits, Ids, Index, Words

MAX_WEIGHT: Final = 10
"""Columns with more entries than this are never eliminated: what they save is lost in fill."""
ROW_COST: Final = 20
"""What Lanczos pays for a row in a pass besides its entries, in entries (see `lanczos`)."""
PASS_COST: Final = 700
"""What a pass costs for each entry of the matrix, in what Lanczos does in the time."""
COMMON: Final = 8
"""Entries that the two rows of a tree's edge have in common, as a rule: small primes are in many."""
GROWTH: Final = 1.3
"""Room for a pass, as a multiple of the entries: what does not fit waits for the next pass."""
INFINITY: Final = 1 << 62
"""Farther apart than any two rows."""
MIN_ROOM: Final = 100_000
"""Room for a pass with few entries."""


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
    pays while f < entries/rows + 2·ROW_COST. The bound is approached in steps, cheap merges first,
    until a step's first pass saves less than it takes.
    """
    state = _State(rows, columns)
    bound, first = 0, True
    while True:
        before, price = state.cost, PASS_COST * state.entries
        state.eliminate(bound)
        worthwhile = before - state.cost > price
        if first and not worthwhile and bound:
            return state.result()
        first = not worthwhile
        if first:
            bound += max(4, state.entries // max(1, state.height) // 4)


class _Table(NamedTuple):
    """Rows that are being merged: row i is `pool[starts[i] : starts[i] + lengths[i]]`."""

    pool: Ids
    starts: Index
    lengths: Index
    alive: Bits
    changed: Index
    """The pass that last changed a row."""
    weighed: Index
    """int64[columns, 3]: the pass that last weighed a column's merge, with how many rows, its fill."""


class _State:
    """The table between passes: each begins with its rows packed and room behind them."""

    def __init__(self, rows: Rows, columns: int) -> None:
        self._table = _Table(
            rows.columns,
            rows.offsets[:-1].copy(),
            rows.lengths.copy(),
            np.ones(rows.height, dtype=np.bool_),
            np.zeros(rows.height, dtype=np.int64),
            np.zeros((columns, 3), dtype=np.int64),
        )
        self._added: list[Index] = []

    @property
    def height(self) -> int:
        return int(np.count_nonzero(self._table.alive))

    @property
    def entries(self) -> int:
        return int(self._table.lengths[self._table.alive].sum())

    @property
    def cost(self) -> int:
        """What Lanczos would pay for the matrix as it is."""
        return self.height * (self.entries + ROW_COST * self.height)

    def eliminate(self, bound: int) -> None:
        """Make one pass over the light columns."""
        end = self._pack(int(GROWTH * self.entries) + MIN_ROOM)
        number = len(self._added) + 1
        self._added.append(_eliminate(self._table, end, number, bound))

    def result(self) -> Merged:
        self._pack(self.entries)
        survivors = np.flatnonzero(self._table.alive)
        rows = Rows(from_lengths(self._table.lengths[survivors]), self._table.pool)
        return Merged(rows, survivors, np.concatenate(self._added), len(self._table.alive))

    def _pack(self, size: int) -> int:
        room = np.empty(size, dtype=np.uint32)
        end = _pack(self._table, room)
        self._table = self._table._replace(pool=room)
        return end


@njit(cache=True)
def _pack(table: _Table, room: Ids) -> int:
    """Copy the living rows one after the other, and say where they lie now."""
    end = 0
    for row in range(len(table.starts)):
        if table.alive[row]:
            start, length = table.starts[row], table.lengths[row]
            room[end : end + length] = table.pool[start : start + length]
            table.starts[row] = end
            end += length
    return end


@njit(cache=True)
def _distance(table: _Table, one: int, other: int) -> int:
    """Return how many entries the sum of two rows has."""
    left = table.pool[table.starts[one] : table.starts[one] + table.lengths[one]]
    right = table.pool[table.starts[other] : table.starts[other] + table.lengths[other]]
    at = other_at = common = 0
    while at < len(left) and other_at < len(right):
        a, b = left[at], right[other_at]
        at += a <= b
        other_at += b <= a
        common += a == b
    return len(left) + len(right) - 2 * common


@njit(cache=True)
def _add(table: _Table, source: int, target: int, end: int) -> int:
    """Write the sum of two rows at `end` of the pool, as the target's new row; return its end."""
    left = table.pool[table.starts[source] : table.starts[source] + table.lengths[source]]
    right = table.pool[table.starts[target] : table.starts[target] + table.lengths[target]]
    room = table.pool[end : end + len(left) + len(right)]
    at = other_at = size = 0
    while at < len(left) and other_at < len(right):
        a, b = left[at], right[other_at]
        room[size] = min(a, b)  # equal ones cancel: the next write covers this one
        at += a <= b
        other_at += b <= a
        size += a != b
    for rest in (left[at:], right[other_at:]):
        room[size : size + len(rest)] = rest
        size += len(rest)
    table.starts[target], table.lengths[target] = end, size
    return end + size


@njit(cache=True)
def _light_columns(table: _Table) -> tuple[Index, Index, Index]:
    """Return the columns of weight 1 to MAX_WEIGHT, lightest first, and their rows.

    The rows of column c are `members[offsets[c] : offsets[c + 1]]`; a heavier column has none.
    """
    weights = _weights(table)
    weights[weights > MAX_WEIGHT] = 0
    offsets = np.zeros(len(weights) + 1, np.int64)
    offsets[1:] = np.cumsum(weights)
    light = np.flatnonzero(weights)
    order = light[np.argsort(weights[light], kind="mergesort")]
    at = offsets[:-1].copy()
    members = np.empty(offsets[-1], np.int64)
    for row in np.flatnonzero(table.alive):
        for column in table.pool[table.starts[row] : table.starts[row] + table.lengths[row]]:
            if weights[column]:
                members[at[column]] = row
                at[column] += 1
    return order, offsets, members


@njit(cache=True)
def _weights(table: _Table) -> Index:
    weights = np.zeros(len(table.weighed), np.int64)
    for row in np.flatnonzero(table.alive):
        for column in table.pool[table.starts[row] : table.starts[row] + table.lengths[row]]:
            weights[column] += 1
    return weights


@njit(cache=True)
def _spanning_tree(table: _Table, rows: Index, order: Index, parent: Index) -> int:
    """Find the minimum spanning tree of a few rows (Prim); return the entries after the merge.

    `order` receives the rows' positions as they join the tree, `parent` where each one hangs. The
    root, the shortest row, joins first and is the row that a merge removes.
    """
    nearest = np.full(len(rows), INFINITY, np.int64)
    inside = np.zeros(len(rows), np.bool_)
    current = int(np.argmin(table.lengths[rows]))
    total = 0
    for joined in range(len(rows)):
        inside[current] = True
        order[joined] = current
        best = -1
        for index in range(len(rows)):
            if inside[index]:
                continue
            distance = _distance(table, rows[current], rows[index])
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
def _is_known_to_fill(table: _Table, column: int, weight: int, newest: int, bound: int) -> bool:
    """Say whether a merge was weighed before, on the same rows, and adds too many entries.

    Had a row lost the column, there would be fewer now, or a new one, which has changed since.
    """
    weighed, rows, fill = table.weighed[column]
    return bool(weighed > newest and rows == weight and fill > bound)


@njit(cache=True)
def _eliminate(table: _Table, end: int, number: int, bound: int) -> Index:
    """Eliminate columns whose rows no other elimination of this pass has touched.

    Return the additions; `number` is the pass, from 1. Within a pass the lists of rows stay true
    without upkeep: a column comes into a row only from one that had it, and that one has changed.
    """
    light, offsets, members = _light_columns(table)
    order, parent = np.empty(MAX_WEIGHT, np.int64), np.empty(MAX_WEIGHT, np.int64)
    added = np.empty((len(table.starts), 2), np.int64)
    additions = 0
    for column in light:
        rows = members[offsets[column] : offsets[column + 1]]
        newest = table.changed[rows].max()
        if newest == number or _is_known_to_fill(table, column, len(rows), newest, bound):
            continue
        likely = (len(rows) - 2) * table.lengths[rows].min() - 2 * (len(rows) - 1) * COMMON
        if likely > bound:
            continue  # a later pass, with a higher bound, looks more closely
        after = _spanning_tree(table, rows, order, parent)
        fill = after - table.lengths[rows].sum()
        table.weighed[column] = number, len(rows), fill
        if fill > bound or end + after >= len(table.pool):
            continue
        # The last to join are leaves: going backwards, every parent is still as it was.
        for index in range(len(rows) - 1, 0, -1):
            source, target = rows[parent[order[index]]], rows[order[index]]
            end = _add(table, source, target, end)
            added[additions, 0], added[additions, 1] = source, target
            additions += 1
        table.alive[rows[order[0]]] = False
        table.changed[rows] = number
    return added[:additions].copy()


@njit(cache=True)
def _undo(added: Index, words: Words) -> None:
    """Go back through the additions: whoever takes the target takes its source as well."""
    for index in range(len(added) - 1, -1, -1):
        words[added[index, 0]] ^= words[added[index, 1]]


def warm() -> None:
    """Compile, or load from the cache, everything in this module."""
    rows = Rows(np.array([0, 1, 2, 3]), np.zeros(3, dtype=np.uint32))
    merged = merge(rows, 1)
    merged.expand(np.zeros(merged.rows.height, dtype=np.uint64))
