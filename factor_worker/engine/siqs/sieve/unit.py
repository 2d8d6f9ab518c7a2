"""A sieve unit: all relations of a range of a-indices, verified and encoded as bytes."""

import time
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, cast

import numpy as np
import numpy.typing as npt

from factor_worker.engine.siqs.polynomials import polynomials
from factor_worker.engine.siqs.polynomials.parameters import Parameters
from factor_worker.engine.siqs.polynomials.polynomials import Family
from factor_worker.engine.siqs.relations import codec, verification
from factor_worker.engine.siqs.relations.codec import Coordinates
from factor_worker.engine.siqs.sieve import initialisation, kernel, tables
from factor_worker.engine.siqs.words.arithmetic import to_limbs
from factor_worker.engine.siqs.words.arrays import Floats, Ids, Index, Limbs

if TYPE_CHECKING:
    from collections.abc import Iterable

INITIAL_ROOM: Final = 1024
"""Relations that the first buffer has room for; a buffer that is too small is doubled."""
POLYNOMIALS_PER_CHECK: Final = 64
"""Polynomials between two checks of `stopped`: 2 ms at 60 digits, 10 ms at 95."""


class UnitResult(NamedTuple):
    """What a unit found."""

    done: int
    """How many a's were sieved to the end: fewer than asked for if the unit ended early."""
    full: int
    """Relations without a large prime."""
    partial: int
    """Relations with one or two large primes."""
    data: bytes
    """The relations as `codec` encodes them."""


def sieve(  # noqa: PLR0913 what to sieve, and two ways to end early
    n: int,
    parameters: Parameters,
    first: int,
    count: int,
    *,
    seconds: float | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> UnitResult:
    """Sieve the a-indices `first` to `first + count` - 1, and verify the relations.

    An a gives the same relations on every machine and in every unit. Two things end a unit early, and
    `UnitResult.done` says after how many a's. Once `seconds` of this thread's CPU time have passed, no
    further a is begun; at least one always is. `stopped` is called every few milliseconds; when it
    returns True, the unit ends at once and drops the relations of the a in progress.

    Raises:
        IndexError: the range goes beyond the last a-index.
        verification.BadBatch: a relation does not hold: the machine miscalculated, or the sieve is wrong.
    """
    siever = _siever(n, parameters)
    started = time.thread_time()
    done, parts = 0, []
    while done < count and (part := siever.sieve(first + done, stopped)) is not None:
        parts.append(part)
        done += 1
        if seconds is not None and time.thread_time() - started >= seconds:
            break
    found = _joined(first, parts)
    verification.verify_relations(n, parameters, found)
    full = int(np.count_nonzero(found.large_primes[:, 1] == 1))
    return UnitResult(done, full, len(found.large_primes) - full, codec.encode(found))


@lru_cache(maxsize=1)
def _siever(n: int, parameters: Parameters) -> "Siever":
    return Siever(n, parameters)


class _Part(NamedTuple):
    """The relations of one a."""

    polynomials: Ids
    positions: Ids
    factor_counts: Index
    factors: Ids
    large_primes: Limbs

    @classmethod
    def of(cls, buffer: tables.RelationBuffer) -> Self:
        """Return a copy of what the kernel found, the factors of each relation in ascending order."""
        relations, factors = buffer.counts.tolist()
        lengths = np.diff(buffer.ends[:relations], prepend=0)
        return cls(
            buffer.polynomials[:relations].copy(),
            buffer.positions[:relations].copy(),
            lengths,
            codec.ascending(lengths, buffer.factors[:factors]),
            buffer.large_primes[:relations].copy(),
        )


def _joined(first: int, parts: list[_Part]) -> Coordinates:
    """Join the relations of successive a's."""
    empty = _Part.of(tables.relation_buffer(0))
    numbers, positions, lengths, factors, large = zip(empty, *parts, strict=True)
    return Coordinates(
        a_indices=np.arange(first, first + len(parts), dtype=np.int64),
        relation_counts=np.array([len(part.polynomials) for part in parts], dtype=np.int64),
        polynomials=np.concatenate(numbers),
        positions=np.concatenate(positions),
        factor_counts=np.concatenate(lengths),
        factors=np.concatenate(factors),
        large_primes=np.concatenate(large),
    )


class Siever:
    """Sieves one a at a time; keeps the tables of a number and the arrays that kernels work in."""

    def __init__(self, n: int, parameters: Parameters) -> None:
        self._n, self._parameters = n, parameters
        self._kn = n * parameters.multiplier
        self.tables = tables.build(n, parameters)
        # The size of Q, a few bits more for an a that is not ideal, and the sign.
        bits = self._kn.bit_length() // 2 + parameters.half_interval.bit_length() + 4
        self._words = bits // 64 + 1
        self.work = tables.workspace(self.tables, parameters.factors, self._words)
        self.buffer = tables.relation_buffer(INITIAL_ROOM)
        self._inverses: dict[int, Floats] = {}
        self._places = np.zeros(parameters.size, dtype=np.uint32)
        self._cofactors = np.zeros(parameters.size)

    def sieve(self, a_index: int, stopped: Callable[[], bool]) -> _Part | None:
        """Return all relations of an a, or None if `stopped` ended it early."""
        family = polynomials.family(self._n, self._parameters, a_index)
        self.start(family)
        self.buffer.counts[:] = 0
        polynomial, again = 0, False
        while polynomial < family.size:
            if stopped():
                return None
            stop = min(polynomial + POLYNOMIALS_PER_CHECK, family.size)
            polynomial = kernel.sieve_polynomials(
                self.tables, self.work, self.buffer, polynomial, stop, again
            )
            if again := polynomial < stop:
                self.buffer = _doubled(self.buffer)
        return _Part.of(self.buffer)

    def start(self, family: Family) -> None:
        """Set the arrays to the first polynomial of an a."""
        work, words = self.work, self._words
        work.a[:] = to_limbs(family.a, words)
        work.b[:] = to_limbs(family.b, words)
        work.c[:] = to_limbs((family.b**2 - self._kn) // (4 * family.a), words)
        for place, term in enumerate(family.b_terms):
            work.b_terms[place] = to_limbs(term, words)
        work.gammas[:] = family.gammas
        work.logs[work.a_factors] = self.tables.logs[work.a_factors]
        work.a_factors[:] = family.a_factors
        work.logs[work.a_factors] = 0
        self._start_roots(family)

    def _start_roots(self, family: Family) -> None:
        size = len(self.tables.primes)
        sums = (np.ones(size), np.zeros(size))
        for q, gamma, delta in zip(family.a_primes, family.gammas, self.work.deltas, strict=True):
            if q not in self._inverses:
                self._inverses[q] = initialisation.negative_inverses(q)
            initialisation.look_up(
                self.tables.primes, q, self._inverses[q], self._places, self._cofactors
            )
            initialisation.add_factor(self.tables, (q, gamma), self._cofactors, delta, sums)
        self.work.deltas[-1] = 0  # B_s never changes its sign
        initialisation.write_roots(self.tables, self.work, sums, float(family.shifted))


def _doubled(buffer: tables.RelationBuffer) -> tables.RelationBuffer:
    """Return a buffer of twice the size, with the same relations in it."""
    larger = tables.relation_buffer(2 * len(buffer.polynomials))
    pairs = cast(
        "Iterable[tuple[npt.NDArray[Any], npt.NDArray[Any]]]", zip(buffer, larger, strict=True)
    )
    for old, new in pairs:
        new[: len(old)] = old
    return larger
