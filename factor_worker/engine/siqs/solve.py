"""Solving: from the stored batches of relations to divisors of the number, in one call."""

from collections.abc import Callable, Iterable, Sequence
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
    good = _verified(n, parameters, batches, report)
    report(Progress("filter", len(good.marks), 0, 1))
    first = filtering.distinct(good.marks)
    large = good.large[first]
    needed = len(primes) + linear_algebra.EXCESS
    usable = filtering.count_usable(large)
    if usable < needed:
        return Solved((), usable, needed, good.bad)
    sets = filtering.relation_sets(large, needed)
    occurring, sets = filtering.used(sets, len(large))
    relations = _taken(good.parts, first[occurring])
    found = _split(n, primes, relations, sets, report)
    return Solved(found, usable, needed if found else usable + MORE, good.bad)


class _Good(NamedTuple):
    """The batches that passed."""

    parts: list[Congruences]
    marks: filtering.Keys
    large: filtering.Primes
    bad: dict[str, str]


def _verified(
    n: int, parameters: Parameters, batches: Iterable[StoredBatch], report: Report
) -> _Good:
    """Verify batch by batch. Python's integers live no longer than their batch: arrays are kept."""
    width = ((n * parameters.multiplier).bit_length() + 7) // 8
    good = _Good([], np.zeros(0, dtype=np.int64), np.zeros((0, 2), dtype=np.uint64), {})
    marks, total = [good.marks], 0
    for done, batch in enumerate(batches, start=1):
        try:
            found = verification.verify(n, parameters, batch.first, batch.count, batch.data)
        except verification.BadBatch as error:
            good.bad[batch.unit_id] = str(error)
            continue
        good.parts.append(_packed(found, width))
        marks.append(filtering.keys(found.x))
        total += len(found.x)
        report(Progress("verify", total, done, done))
    return good._replace(
        marks=np.concatenate(marks),
        large=np.concatenate([good.large, *(part.large for part in good.parts)]),
    )


def _packed(relations: verification.Relations, width: int) -> Congruences:
    """Return relations as arrays, each |x| in `width` bytes."""
    x = b"".join(abs(value).to_bytes(width, "little") for value in relations.x)
    return Congruences(
        np.frombuffer(x, dtype=np.uint8).reshape(-1, width),
        sparse.Rows(relations.offsets, relations.factors.astype(np.uint32, copy=False)),
        relations.large.astype(np.uint64, copy=False),
    )


def _taken(parts: list[Congruences], chosen: sparse.Index) -> Congruences:
    """Return the chosen relations, by their ascending numbers over all parts."""
    taken, start = [], 0
    for part in parts:
        stop = start + len(part.x)
        low, high = np.searchsorted(chosen, (start, stop))
        inside = chosen[low:high] - start
        taken.append(
            Congruences(part.x[inside], sparse.take(part.factors, inside), part.large[inside])
        )
        start = stop
    return Congruences(
        np.concatenate([part.x for part in taken]),
        sparse.stacked([part.factors for part in taken]),
        np.concatenate([part.large for part in taken]),
    )


def _split(
    n: int, primes: Sequence[int], relations: Congruences, sets: sparse.Rows, report: Report
) -> tuple[int, ...]:
    """Do the linear algebra and take the square roots."""
    matrix = sparse.combine(sets, relations.factors, len(primes))
    words = linear_algebra.dependencies(
        matrix, len(primes), lambda rows, done, of: report(Progress("matrix", rows, done, of))
    )
    rows, of = len(relations.x), linear_algebra.count(words)
    return square_root.divisors(
        n,
        primes,
        relations,
        (filtering.members(sets, chosen) for chosen in linear_algebra.members(words)),
        lambda done: report(Progress("square root", rows, done, of)),
    )
