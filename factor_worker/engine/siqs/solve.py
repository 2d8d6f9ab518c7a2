"""Solving: from the stored batches of relations to divisors of the number, in one call."""

from collections.abc import Callable, Iterable
from typing import Final, Literal, NamedTuple

import numpy as np

from factor_worker.engine.siqs import (
    factor_base,
    filtering,
    linear_algebra,
    sparse,
    square_root,
    verification,
)
from factor_worker.engine.siqs.parameters import Parameters
from factor_worker.engine.siqs.sparse import Rows
from factor_worker.engine.siqs.square_root import Congruences

MORE: Final = 64
"""Rows asked for beyond those there are when every dependency was trivial."""

Stage = Literal["verify", "filter", "matrix", "square root"]


class StoredBatch(NamedTuple):
    """What one unit found: a's `first` to `first + count` - 1, relations as `codec` writes them."""

    unit_id: str
    first: int
    count: int
    data: bytes


class Progress(NamedTuple):
    """How far solving is: `rows` is the size of what is worked on, `done` of `of` its work."""

    stage: Stage
    rows: int
    done: int
    of: int


class Solved(NamedTuple):
    """Divisors of n, or why there are none."""

    divisors: tuple[int, ...]
    """Nontrivial, ascending, perhaps composite; none if the relations do not suffice."""
    usable: int
    """Independent rows that the good batches give."""
    needed: int
    """Rows that it takes: sieve until `usable` reaches this."""
    bad: dict[str, str]
    """Batches left out whole: unit id to reason."""


Report = Callable[[Progress], None]


def solve(
    n: int, parameters: Parameters, batches: Iterable[StoredBatch], *, report: Report
) -> Solved:
    """Verify the batches, and split n if their relations suffice.

    A batch that fails verification is left out whole and named; it never stops the number. If there
    are too few relations no linear algebra is done. If every dependency turns out trivial, `needed`
    is raised above `usable`, so that a few more relations lead to others.
    `report` is called every second or so.
    """
    primes = factor_base.primes(n, parameters)
    relations, marks, bad = _verified(n, parameters, batches, report)
    relations = _chosen(relations, filtering.distinct(marks))
    report(Progress("filter", relations.factors.count, 0, 1))
    needed = len(primes) + linear_algebra.EXCESS
    usable = filtering.count_usable(relations.large)
    if usable < needed:
        return Solved((), usable, needed, bad)
    relations, sets = _relation_sets(relations, needed)
    matrix = sparse.combine(sets, relations.factors, len(primes))
    words = linear_algebra.dependencies(
        matrix, len(primes), lambda rows, done, of: report(Progress("matrix", rows, done, of))
    )
    found = square_root.divisors(
        n,
        primes,
        relations,
        (filtering.members(sets, chosen) for chosen in linear_algebra.members(words)),
        lambda done: report(
            Progress("square root", relations.factors.count, done, linear_algebra.count(words))
        ),
    )
    return Solved(found, usable, needed if found else usable + MORE, bad)


def _verified(
    n: int, parameters: Parameters, batches: Iterable[StoredBatch], report: Report
) -> tuple[Congruences, filtering.Keys, dict[str, str]]:
    """Return the relations of all good batches, their keys, and the bad batches.

    Python's integers live no longer than their batch: what is kept is arrays.
    """
    width = ((n * parameters.multiplier).bit_length() + 7) // 8
    parts: list[Congruences] = []
    marks: list[filtering.Keys] = []
    bad: dict[str, str] = {}
    total = 0
    for done, batch in enumerate(batches):
        try:
            found = verification.verify(n, parameters, batch.first, batch.count, batch.data)
        except verification.BadBatch as error:
            bad[batch.unit_id] = str(error)
            continue
        marks.append(filtering.keys(found.x))
        packed = b"".join(abs(x).to_bytes(width, "little") for x in found.x)
        parts.append(
            Congruences(
                np.frombuffer(packed, dtype=np.uint8).reshape(-1, width),
                Rows(found.offsets, found.factors.astype(np.uint32, copy=False)),
                found.large.astype(np.uint64, copy=False),
            )
        )
        total += len(found.x)
        report(Progress("verify", total, done + 1, done + 1))
    return _joined(parts, width), np.concatenate([np.zeros(0, dtype=np.int64), *marks]), bad


def _joined(parts: list[Congruences], width: int) -> Congruences:
    lengths = [part.factors.lengths for part in parts]
    columns = [part.factors.columns for part in parts]
    return Congruences(
        np.concatenate([np.zeros((0, width), dtype=np.uint8), *(part.x for part in parts)]),
        Rows(
            sparse.from_lengths(np.concatenate([np.zeros(0, dtype=np.int64), *lengths])),
            np.concatenate([np.zeros(0, dtype=np.uint32), *columns]),
        ),
        np.concatenate([np.zeros((0, 2), dtype=np.uint64), *(part.large for part in parts)]),
    )


def _chosen(relations: Congruences, chosen: sparse.Index) -> Congruences:
    return Congruences(
        relations.x[chosen], sparse.take(relations.factors, chosen), relations.large[chosen]
    )


def _relation_sets(relations: Congruences, needed: int) -> tuple[Congruences, Rows]:
    """Return the shortest sets that suffice, and of the relations only those in them."""
    sets = filtering.relation_sets(relations.large, needed)
    occurring, sets = filtering.used(sets, relations.factors.count)
    return _chosen(relations, occurring), sets
