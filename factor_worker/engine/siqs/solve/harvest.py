"""The harvest: the verified relations of one number so far, and whether they suffice."""

from collections.abc import Sequence
from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from factor_worker.engine.siqs.polynomials import factor_base
from factor_worker.engine.siqs.polynomials.parameters import Parameters
from factor_worker.engine.siqs.relations import verification
from factor_worker.engine.siqs.solve import filtering, sparse
from factor_worker.engine.siqs.solve.sparse import Rows
from factor_worker.engine.siqs.solve.square_root import Congruences

EXCESS: Final = 16
"""Rows wanted beyond the columns, hence dependencies: all of them are trivial once in 2^16 numbers."""
COUNT_FROM: Final = 0.9
"""Which primes occur is counted once there are rows for this part of the factor base."""


class RelationSets(NamedTuple):
    """The relation-sets as a matrix, and what they consist of."""

    matrix: Rows
    """Row i: the primes with an odd exponent in set i."""
    sets: Rows
    """Row i: the relations in set i."""
    relations: Congruences
    """Only the relations that occur in the sets."""

    def shortest(self, limit: int) -> Self:
        """Return the first `limit` sets; sets are in order of their number of relations."""
        first = np.arange(min(limit, self.sets.height))
        return self._replace(
            matrix=sparse.take(self.matrix, first), sets=sparse.take(self.sets, first)
        )


class State(NamedTuple):
    """How far a harvest has come: it suffices if `usable` reaches `needed`."""

    usable: int
    """How many independent rows the relations give."""
    needed: int
    """How many rows it takes: `EXCESS` more than primes that occur in them with an odd exponent."""
    sets: RelationSets | None
    """The rows; None far from the end, where every prime of the base is assumed to occur."""


class Harvest:
    """Collects verified relations batch by batch, in arrays: Python's integers would take far more memory."""

    def __init__(self, n: int, parameters: Parameters) -> None:
        self.n = n
        self.primes: Sequence[int] = factor_base.primes(n, parameters)
        self._parameters = parameters
        self._parts = [_nothing(verification.x_words(n * parameters.multiplier))]
        self._hashes = [np.zeros(0, dtype=np.uint64)]
        self._state: State | None = None

    def __len__(self) -> int:
        """Return how many relations there are, duplicates included."""
        return sum(len(hashes) for hashes in self._hashes)

    def add(self, first: int, count: int, data: bytes) -> None:
        """Verify the batch of a unit, a-indices `first` to `first + count` - 1, and keep its relations.

        Raises:
            verification.BadBatch: something in the batch is wrong; none of it is kept.
        """
        found = verification.verify(self.n, self._parameters, first, count, data)
        part = Congruences(
            found.x,
            Rows(found.offsets, found.factors.astype(np.uint32, copy=False)),
            found.large_primes.astype(np.uint64, copy=False),
        )
        self._parts.append(part)
        self._hashes.append(filtering.hashes(found.x))
        self._state = None

    def state(self) -> State:
        """Return how many rows there are, how many it takes, and the rows once they might suffice."""
        if self._state is None:
            self._state = self._counted()
        return self._state

    def _counted(self) -> State:
        first = filtering.distinct(np.concatenate(self._hashes))
        large = np.concatenate([part.large_primes for part in self._parts])[first]
        graph = filtering.graph(large)
        usable, most = filtering.count_usable(graph), len(self.primes)
        if usable < COUNT_FROM * most:
            return State(usable, most + EXCESS, None)
        sets = filtering.relation_sets(graph, usable)
        occurring, sets = filtering.used(sets, len(large))
        relations = _take(self._parts, first[occurring])
        matrix = sparse.combine(sets, relations.factors, most)
        needed = int(np.count_nonzero(np.bincount(matrix.columns))) + EXCESS
        return State(usable, needed, RelationSets(matrix, sets, relations))


def _nothing(words: int) -> Congruences:
    return Congruences(
        np.zeros((0, words), dtype=np.uint64),
        Rows(np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.uint32)),
        np.zeros((0, 2), dtype=np.uint64),
    )


def _take(parts: Sequence[Congruences], chosen: npt.NDArray[np.int64]) -> Congruences:
    """Return the chosen relations, given by their ascending indices over all parts."""
    taken, start = [], 0
    for part in parts:
        stop = start + len(part.x)
        low, high = np.searchsorted(chosen, (start, stop))
        inside = chosen[low:high] - start
        taken.append(
            Congruences(
                part.x[inside], sparse.take(part.factors, inside), part.large_primes[inside]
            )
        )
        start = stop
    return Congruences(
        np.concatenate([part.x for part in taken]),
        sparse.stacked([part.factors for part in taken]),
        np.concatenate([part.large_primes for part in taken]),
    )
