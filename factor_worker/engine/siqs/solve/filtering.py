"""Filtering: which relations are usable, and how partial ones join into relation-sets.

A relation is an edge between its two large primes; one large prime is an edge to 1, none is a loop
at 1. In a cycle of this graph every large prime occurs an even number of times, so that the product
of the cycle's relations is, up to a square, a product of primes of the factor base: as good as a
full relation. Source: Lenstra and Manasse, "Factoring with two large primes" (1994).
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from factor_worker.engine.siqs.solve.sparse import Rows, from_lengths, take
from factor_worker.engine.siqs.words.arrays import Bits, Ids, Index, Limbs, Words


def hashes(x: Limbs) -> Words:
    """Return 64 bits of each x ≥ 0, of as many words as there are columns, to recognise duplicates.

    Two different values hardly ever share a key; if so one good relation is lost, no more.
    """
    odd = np.random.default_rng(x.shape[1]).integers(1 << 63, size=x.shape[1], dtype=np.uint64)
    mixed: Words = ((x ^ (x >> np.uint64(32))) * (2 * odd + np.uint64(1))).sum(
        axis=1, dtype=np.uint64
    )
    return mixed


def distinct(hashes: Words) -> Index:
    """Return the ascending indices of the first relation with each key."""
    first: Index = np.unique(hashes, return_index=True)[1]
    first.sort()
    return first


class Graph(NamedTuple):
    """Relations as edges between numbered large primes; the vertex 0 is 1, for none."""

    edges: Index
    """int64[m, 2]."""
    vertices: int


def graph(large: Limbs) -> Graph:
    """Return the graph of relations: `large` is uint[m, 2], 1 for none."""
    flat = np.concatenate((np.ones(1, dtype=large.dtype), large.ravel()))
    values, numbers = np.unique(flat, return_inverse=True)
    return Graph(numbers[1:].reshape(-1, 2).astype(np.int64), len(values))


def count_usable(relations: Graph) -> int:
    """Return how many independent rows the relations give: full ones and independent cycles."""
    return len(relations.edges) - _count_unions(relations.edges, relations.vertices)


def relation_sets(relations: Graph, limit: int) -> Rows:
    """Return at most `limit` sets of relations, the shortest ones, with no large prime left over.

    Row i names the relations of set i; the sets are linearly independent and, without a limit,
    `count_usable` many. Each is an edge outside a breadth-first spanning forest with the path that
    joins its ends inside the forest.
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
    """Return the ascending relations that occur in the sets, and the sets in terms of these."""
    occurs = np.zeros(relations, dtype=np.bool_)
    occurs[sets.columns] = True
    renumbered = np.cumsum(occurs, dtype=np.uint32) - np.uint32(1)
    return np.flatnonzero(occurs), Rows(sets.offsets, renumbered[sets.columns])


def members(sets: Rows, chosen: Index) -> Index:
    """Return the ascending relations that an odd number of the chosen sets contain."""
    relations, times = np.unique(take(sets, chosen).columns, return_counts=True)
    odd: Index = relations[times % 2 == 1].astype(np.int64)
    return odd


def lightest(rows: Rows, limit: int) -> Index:
    """Return the ascending indices of the rows with the fewest entries."""
    return np.sort(np.argsort(rows.lengths, kind="stable")[:limit])


@njit(cache=True)
def _count_unions(edges: Index, vertices: int) -> int:
    """Return how many edges join two components that nothing joined before (union-find)."""
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
    """Return per vertex (parent, edge to it), per vertex the depth, and the edges of the forest.

    Breadth first, and from vertex 0 first: the paths from there are as short as they can be.
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
