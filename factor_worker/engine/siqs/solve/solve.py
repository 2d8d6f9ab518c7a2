"""Solving: from stored batches of relations to divisors of the number, in one call."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from factor_worker.engine.siqs.polynomials.parameters import Parameters
from factor_worker.engine.siqs.relations import verification
from factor_worker.engine.siqs.solve import filtering, linear_algebra, square_root
from factor_worker.engine.siqs.solve.harvest import Harvest

RETRY_ROWS: Final = 64
"""How many more rows are asked for when every dependency was trivial."""

Stage = Literal["verify", "filter", "matrix", "square root"]


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """What one unit found for the a-indices `first` to `first + count` - 1."""

    unit_id: str
    first: int
    count: int
    data: bytes
    """The relations as `codec` encodes them."""


class Progress(NamedTuple):
    """How far solving has come: `done` of `total` in this stage."""

    stage: Stage
    rows: int
    """How many relations, or rows of the matrix, the stage works on."""
    done: int
    total: int


class Solved(NamedTuple):
    """Divisors of n, or why there are none."""

    divisors: tuple[int, ...]
    """Nontrivial, ascending, perhaps composite; empty if the relations do not suffice."""
    usable: int
    """How many independent rows the good batches give."""
    needed: int
    """How many rows it takes: sieve until `usable` reaches this."""
    bad: dict[str, str]
    """The reason for each batch that was rejected, by unit id."""


Report = Callable[[Progress], None]


def solve(
    n: int, parameters: Parameters, batches: Iterable[StoredBatch], *, report: Report
) -> Solved:
    """Verify the batches, and split n if their relations suffice.

    A batch that fails verification is rejected as a whole and named in the result; the others still count.
    If there are too few relations, no linear algebra is done. If every dependency turns out trivial,
    `needed` is raised above `usable`, so that more relations lead to other dependencies. `report` is called
    at every step, and about twice a second during linear algebra.
    """
    harvest = Harvest(n, parameters)
    bad: dict[str, str] = {}
    for done, batch in enumerate(batches, start=1):
        try:
            harvest.add(batch.first, batch.count, batch.data)
        except verification.BadBatch as error:
            bad[batch.unit_id] = str(error)
        report(Progress("verify", len(harvest), done, done))
    return split(harvest, report)._replace(bad=bad)


def split(harvest: Harvest, report: Report) -> Solved:
    """Split the harvest's number if the relations suffice; see `solve`."""
    report(Progress("filter", len(harvest), 0, 1))
    usable, needed, rows = harvest.state()
    if not rows or usable < needed:
        return Solved((), usable, needed, {})
    matrix, sets, relations = rows.shortest(needed)
    words = linear_algebra.dependencies(
        matrix,
        len(harvest.primes),
        lambda rows, done, total: report(Progress("matrix", rows, done, total)),
    )
    count, total = len(relations.x), linear_algebra.count(words)
    found = square_root.divisors(
        harvest.n,
        harvest.primes,
        relations,
        (filtering.members(sets, chosen) for chosen in linear_algebra.members(words)),
        lambda done: report(Progress("square root", count, done, total)),
    )
    return Solved(found, usable, needed if found else usable + RETRY_ROWS, {})
