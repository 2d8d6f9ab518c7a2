"""Filtering: which relations are usable, and how partial ones combine to relation-sets.

A relation is an edge between its two large primes; a relation with one large prime is an edge to 1, a full
one a loop at 1. In a cycle of this graph every large prime occurs an even number of times. So the product
of the cycle's relations is, up to a square, a product of primes of the factor base: as good as a full
relation. Singletons, whose large prime occurs nowhere else, lie on no cycle and are left behind.

Source: Lenstra and Manasse, "Factoring with two large primes" (1994).
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from factor_worker.engine.siqs.solve.sparse import Rows, from_lengths, take
from factor_worker.engine.siqs.words.arrays import Bits, Ids, Index, Limbs, Words


def hashes(x: Limbs) -> Words:
    """Return a 64-bit hash of each x, given as uint64[m, words]: it recognises duplicates.

    Should two different x have one hash, a good relation is lost, and no more.
    """
    odd = np.random.default_rng(x.shape[1]).integers(1 << 63, size=x.shape[1], dtype=np.uint64)
    mixed: Words = ((x ^ (x >> np.uint64(32))) * (2 * odd + np.uint64(1))).sum(
        axis=1, dtype=np.uint64
    )
    return mixed


def distinct(hashes: Words) -> Index:
    """Return the indices, ascending, of the first relation with each hash."""
    first: Index = np.unique(hashes, return_index=True)[1]
    first.sort()
    return first


class Graph(NamedTuple):
    """Relations as edges between numbered large primes; vertex 0 stands for 1, no large prime."""

    edges: Index
    """int64[m, 2]."""
    vertices: int


def graph(large: Limbs) -> Graph:
    """Return the graph of relations; `large` is uint64[m, 2], 1 for no large prime."""
    flat = np.concatenate((np.ones(1, dtype=large.dtype), large.ravel()))
    values, numbers = np.unique(flat, return_inverse=True)
    return Graph(numbers[1:].reshape(-1, 2).astype(np.int64), len(values))


def count_usable(relations: Graph) -> int:
    """Return how many independent rows relations give: full ones plus independent cycles.

    A graph of E edges, V vertices and C components has E - V + C independent cycles, loops included.
    """
    return len(relations.edges) - _count_unions(relations.edges, relations.vertices)


def relation_sets(relations: Graph, limit: int) -> Rows:
    """Return the `limit` shortest relation-sets, in which every large prime occurs an even number of times.

    Row i lists the relations of set i. The sets are linearly independent; there are `count_usable` if
    `limit` allows. Each is the cycle that one edge outside a breadth-first spanning forest closes.
    """
    edges, vertices = relations
    parents, depth, in_forest = _spanning_forest(edges, vertices)
    outside = np.flatnonzero(~in_forest)
    lengths = _path_lengths(edges, outside, parents, depth)
    shortest = np.argsort(lengths, kind="stable")[:limit]
    chosen = outside[shortest]
    offsets = from_lengths(lengths[shortest])
    return Rows(offsets, _paths(edges, chosen, parents, depth, offsets))


def used(sets: Rows, relations: int) -> tuple[Index, Rows]:
    """Return the relations that occur in the sets, ascending, and the sets renumbered to match."""
    occurs = np.zeros(relations, dtype=np.bool_)
    occurs[sets.columns] = True
    renumbered = np.cumsum(occurs, dtype=np.uint32) - np.uint32(1)
    return np.flatnonzero(occurs), Rows(sets.offsets, renumbered[sets.columns])


def members(sets: Rows, chosen: Index) -> Index:
    """Return the relations that occur in an odd number of the chosen sets, ascending."""
    relations, times = np.unique(take(sets, chosen).columns, return_counts=True)
    odd: Index = relations[times % 2 == 1].astype(np.int64)
    return odd


def lightest(rows: Rows, limit: int) -> Index:
    """Return the indices, ascending, of the `limit` rows with the fewest entries."""
    return np.sort(np.argsort(rows.lengths, kind="stable")[:limit])


@njit(cache=True)
def _count_unions(edges: Index, vertices: int) -> int:
    """Return how many edges join two components that were separate before (union-find)."""
    parent = np.arange(vertices)
    joined = 0
    for edge in range(len(edges)):
        left, right = edges[edge, 0], edges[edge, 1]
        while parent[left] != left:
            parent[left] = parent[parent[left]]
            left = parent[left]
        while parent[right] != right:
            parent[right] = parent[parent[right]]
            right = parent[right]
        if left != right:
            parent[max(left, right)] = min(left, right)
            joined += 1
    return joined


@njit(cache=True)
def _spanning_forest(edges: Index, vertices: int) -> tuple[Index, Index, Bits]:
    """Return int64[vertices, 2] parents and the edges to them, depths, and which edges are in the forest.

    The search is breadth-first and starts at vertex 0, so that most cycles, which go through 1, are short.
    """
    starts = np.zeros(vertices + 1, np.int64)
    for edge in range(len(edges)):
        starts[edges[edge, 0] + 1] += 1
        starts[edges[edge, 1] + 1] += 1
    starts = np.cumsum(starts)
    at = starts[:-1].copy()
    incident = np.empty(2 * len(edges), np.int64)
    for edge in range(len(edges)):
        for side in range(2):
            vertex = edges[edge, side]
            incident[at[vertex]] = edge
            at[vertex] += 1
    parents = np.full((vertices, 2), -1, np.int64)
    depth = np.full(vertices, -1, np.int64)
    in_forest = np.zeros(len(edges), np.bool_)
    queue = np.empty(vertices, np.int64)
    for root in range(vertices):
        if depth[root] >= 0:
            continue
        depth[root] = 0
        queue[0] = root
        head, tail = 0, 1
        while head < tail:
            vertex = queue[head]
            head += 1
            for edge in incident[starts[vertex] : starts[vertex + 1]]:
                other = edges[edge, 0] + edges[edge, 1] - vertex
                if depth[other] < 0:
                    depth[other] = depth[vertex] + 1
                    parents[other, 0] = vertex
                    parents[other, 1] = edge
                    in_forest[edge] = True
                    queue[tail] = other
                    tail += 1
    return parents, depth, in_forest


@njit(cache=True)
def _path_lengths(edges: Index, outside: Index, parents: Index, depth: Index) -> Index:
    """Return how many edges are on the cycle that each edge outside the forest closes."""
    lengths = np.ones(len(outside), np.int64)
    for index in range(len(outside)):
        left, right = edges[outside[index], 0], edges[outside[index], 1]
        while left != right:
            if depth[left] < depth[right]:
                left, right = right, left
            left = parents[left, 0]
            lengths[index] += 1
    return lengths


@njit(cache=True)
def _paths(edges: Index, outside: Index, parents: Index, depth: Index, offsets: Index) -> Ids:
    """Return the edges of those cycles, ascending within each, one cycle after the other."""
    members = np.empty(offsets[-1], np.uint32)
    for index in range(len(outside)):
        at = offsets[index]
        members[at] = outside[index]
        left, right = edges[outside[index], 0], edges[outside[index], 1]
        while left != right:
            if depth[left] < depth[right]:
                left, right = right, left
            at += 1
            members[at] = parents[left, 1]
            left = parents[left, 0]
        members[offsets[index] : at + 1].sort()
    return members


def warm() -> None:
    """Compile, or load from the cache, everything in this module."""
    relations = graph(np.array([[1, 1], [1, 5], [1, 5]], dtype=np.uint64))
    count_usable(relations)
    relation_sets(relations, 2)
