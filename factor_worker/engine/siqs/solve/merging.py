"""Structured Gaussian elimination, or merging: a smaller, denser matrix with the same dependencies.

Theory of operation
-------------------
Rows are relation-sets, columns are primes of the factor base. A row that has the only entry of a column
can be in no dependency, so both go. A column of weight k goes by a *merge*: its k rows are added
to each other so that the column cancels, and one row is removed, the *pivot* of the elimination. Which row
is added to which is a choice of a spanning tree on the k rows; the minimum spanning tree, whose edges cost
the entries of the sums, keeps the fill low (`_spanning_tree`). The shortest row is the root and is removed.

Whether a merge pays is a question of what Lanczos costs, rows · (entries + `ROW_COST` · rows): it removes a
row, and adds *fill*. `merge` approaches the break-even fill in steps and makes passes with each bound, so
that cheap merges come first, and ends when the first pass with a new bound saves less than it takes.

A pass (`_eliminate`) lists the rows of all light columns once. Rows that a merge changed are not touched
again in the same pass, which keeps these lists true without upkeep. Most time goes into spanning trees, so
two shortcuts avoid them: a merge whose fill is too large by a simple estimate waits for a higher bound, and
one that was weighed before is weighed again only if one of its rows has changed.

Rows live in one pool. A sum is written at the pool's end; between passes the living rows are packed into a
new pool. Every addition is remembered as (source, target), so that dependencies of the small matrix can be
expressed in original rows by going through the additions backwards: a combination that contains the target
contains the source (`Merged.expand`).

Sources: LaMacchia and Odlyzko, "Solving large sparse linear systems over finite fields" (1990); Cavallar,
"Strategies in filtering in the number field sieve" (2000) for the spanning trees.
"""

from typing import Final, NamedTuple

import numpy as np
from numba import njit

from factor_worker.engine.siqs.solve.sparse import Rows, from_lengths
from factor_worker.engine.siqs.words.arrays import Bits, Ids, Index, Words

MAX_WEIGHT: Final = 10
"""Columns of larger weight are never eliminated: the fill would cost more than they save."""
ROW_COST: Final = 20
"""What a row costs Lanczos in an iteration besides its entries, in entries (see `lanczos`)."""
PASS_COST: Final = 700
"""What a pass costs for each entry of the matrix, in units of the cost of Lanczos."""
COMMON: Final = 8
"""How many entries two rows usually share: many rows have the small primes."""
GROWTH: Final = 1.3
"""The pool of a pass, as a multiple of the entries; merges that do not fit wait for the next pass ..."""
MIN_ROOM: Final = 100_000
"""... plus this many."""
INFINITY: Final = 1 << 62
"""More than the distance of any two rows."""


class Merged(NamedTuple):
    """A merged matrix and how its rows came about."""

    rows: Rows
    """Over the original columns; columns and rows may be empty."""
    survivors: Index
    """The original index of each row."""
    added: Index
    """int64[k, 2]: row `added[i, 0]` was added to row `added[i, 1]`, in this order."""
    originals: int
    """How many rows there were before merging."""

    def expand(self, vectors: Words) -> Words:
        """Express 64 combinations of merged rows, uint64[rows], in original rows: uint64[originals]."""
        words = np.zeros(self.originals, dtype=np.uint64)
        words[self.survivors] = vectors
        _undo(self.added, words)
        return words


def merge(rows: Rows, columns: int) -> Merged:
    """Eliminate columns for as long as that makes Lanczos cheaper; rows name columns below `columns`.

    By its cost, a merge that removes one row and adds f entries pays while
    f < entries/rows + 2·`ROW_COST`.
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
    """int64[columns, 3]: for each column's merge the pass that last weighed it, its rows, its fill."""


class _State:
    """The table between passes. A pass begins with the rows packed and free room behind them."""

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
        """What Lanczos would cost for the matrix as it is."""
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
    """Copy the living rows to `room`, one after the other, and update where they start; return the end."""
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
    """Return the distance of two rows: how many entries their sum has."""
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
    """Write the sum of two rows at the pool's `end` and make it the target row; return the new end."""
    left = table.pool[table.starts[source] : table.starts[source] + table.lengths[source]]
    right = table.pool[table.starts[target] : table.starts[target] + table.lengths[target]]
    room = table.pool[end : end + len(left) + len(right)]
    at = other_at = size = 0
    while at < len(left) and other_at < len(right):
        a, b = left[at], right[other_at]
        room[size] = min(a, b)  # equal entries cancel: the next write overwrites this one
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
    """Return the columns of weight 1 to `MAX_WEIGHT`, lightest first, with offsets and rows.

    The rows of column c are `members[offsets[c] : offsets[c + 1]]`; a heavier column lists none.
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
    """Return how many living rows each column is in."""
    weights = np.zeros(len(table.weighed), np.int64)
    for row in np.flatnonzero(table.alive):
        for column in table.pool[table.starts[row] : table.starts[row] + table.lengths[row]]:
            weights[column] += 1
    return weights


@njit(cache=True)
def _spanning_tree(table: _Table, rows: Index, order: Index, parent: Index) -> int:
    """Find the minimum spanning tree of a few rows (Prim); return the entries that its merge leaves.

    `order` receives the rows' places in the order in which they join the tree, `parent` the place of each
    row's parent. The root, the shortest row, joins first; it is the row that the merge removes.
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
    """Return whether a merge was weighed before, on the same rows, and has too much fill.

    Had a row lost the column, there would be fewer rows now, or a new one, which has changed since.
    """
    weighed, rows, fill = table.weighed[column]
    return bool(weighed > newest and rows == weight and fill > bound)


@njit(cache=True)
def _eliminate(table: _Table, end: int, number: int, bound: int) -> Index:
    """Make one pass: eliminate columns whose rows no other merge of this pass has touched.

    Return the additions. `number` is the pass, counted from 1, `end` the pool's end. Within a pass the
    lists of rows stay true: a column enters a row only from a row that has it, and both count as changed.
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
        # The last rows to join are leaves: going backwards, every parent is still unchanged.
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
    """Go back through the additions: a combination that contains the target contains the source too."""
    for index in range(len(added) - 1, -1, -1):
        words[added[index, 0]] ^= words[added[index, 1]]


def warm() -> None:
    """Compile, or load from the cache, everything in this module."""
    rows = Rows(np.array([0, 1, 2, 3]), np.zeros(3, dtype=np.uint32))
    merged = merge(rows, 1)
    merged.expand(np.zeros(merged.rows.height, dtype=np.uint64))
