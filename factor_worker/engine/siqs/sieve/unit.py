"""A sieve unit: all relations of a range of a-indices, as bytes."""

import time
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, cast

import numpy as np
import numpy.typing as npt

from factor_worker.engine.siqs.polynomials import polynomials
from factor_worker.engine.siqs.polynomials.parameters import Parameters
from factor_worker.engine.siqs.polynomials.polynomials import Polynomials
from factor_worker.engine.siqs.relations import codec, verification
from factor_worker.engine.siqs.relations.codec import Coordinates
from factor_worker.engine.siqs.sieve import initialisation, kernel, tables
from factor_worker.engine.siqs.words.arithmetic import Limbs, limbs
from factor_worker.engine.siqs.words.arrays import Floats, Ids, Index

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOM: Final = 1024
"""Relations that the first buffer holds; one that is too small is doubled."""
AT_ONCE: Final = 64
"""Polynomials between two looks at whether to go on: 2 ms at 60 digits, 10 at 95."""


class Batch(NamedTuple):
    """What a unit found."""

    done: int
    """How many a's were sieved to the end: fewer than asked for if the time was up."""
    full: int
    """Relations without a large prime."""
    partial: int
    """Relations with one or two."""
    data: bytes
    """The relations, see `codec`."""


def sieve(  # noqa: PLR0913 what to sieve, and two ways to end early
    n: int,
    parameters: Parameters,
    first: int,
    count: int,
    *,
    seconds: float | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Batch:
    """Sieve the a's `first` to `first + count` - 1, and verify what was found.

    The same a gives the same relations on every machine, in whatever unit it is. After `seconds` of
    CPU time of this thread no further a is begun, but there is always one. `stopped` is asked every
    few milliseconds; if it says so, what there is of the present a is dropped, and that was all.

    Raises:
        IndexError: there are not so many a's.
        verification.BadBatch: the machine miscalculated, or the sieve is wrong.
    """
    siever = _siever(n, parameters)
    started = time.thread_time()
    done, parts = 0, []
    while done < count and (part := siever.sieve(first + done, stopped)) is not None:
        parts.append(part)
        done += 1
        if seconds is not None and time.thread_time() - started >= seconds:
            break
    found = _together(first, parts)
    verification.checked(n, parameters, found)
    full = int(np.count_nonzero(found.large[:, 1] == 1))
    return Batch(done, full, len(found.large) - full, codec.encode(found))


@lru_cache(maxsize=1)
def _siever(n: int, parameters: Parameters) -> "Siever":
    return Siever(n, parameters)


class _Part(NamedTuple):
    """The relations of one a."""

    numbers: Ids
    positions: Ids
    lengths: Index
    factors: Ids
    large: Limbs

    @classmethod
    def of(cls, found: tables.Found) -> Self:
        """Return what the kernel found, copied and in order."""
        relations, factors = found.counts.tolist()
        lengths = np.diff(found.ends[:relations], prepend=0)
        return cls(
            found.numbers[:relations].copy(),
            found.positions[:relations].copy(),
            lengths,
            codec.ascending(lengths, found.factors[:factors]),
            found.large[:relations].copy(),
        )


def _together(first: int, parts: list[_Part]) -> Coordinates:
    """Join the relations of successive a's."""
    empty = _Part.of(tables.found(0))
    numbers, positions, lengths, factors, large = zip(empty, *parts, strict=True)
    return Coordinates(
        indices=np.arange(first, first + len(parts), dtype=np.int64),
        counts=np.array([len(part.numbers) for part in parts], dtype=np.int64),
        numbers=np.concatenate(numbers),
        positions=np.concatenate(positions),
        lengths=np.concatenate(lengths),
        factors=np.concatenate(factors),
        large=np.concatenate(large),
    )


class Siever:
    """The tables of a number and room to work in; sieves one a at a time."""

    def __init__(self, n: int, parameters: Parameters) -> None:
        self._n, self._parameters = n, parameters
        self._number = n * parameters.multiplier
        self.tables = tables.table(n, parameters)
        # Q's size, a few bits for an a that is not ideal, and the sign
        bits = self._number.bit_length() // 2 + parameters.reach.bit_length() + 4
        self._words = bits // 64 + 1
        self.work = tables.work(self.tables, parameters.factors, self._words)
        self.found = tables.found(ROOM)
        self._inverses: dict[int, Floats] = {}
        self._places = np.zeros(parameters.size, dtype=np.uint32)
        self._cofactors = np.zeros(parameters.size)

    def sieve(self, index: int, stopped: Callable[[], bool]) -> _Part | None:
        """Return all relations of an a, or None if it was stopped before the end."""
        chosen = polynomials.at(self._n, self._parameters, index)
        self.begin(chosen)
        self.found.counts[:] = 0
        number, again = 0, False
        while number < chosen.size:
            if stopped():
                return None
            stop = min(number + AT_ONCE, chosen.size)
            number = kernel.run(self.tables, self.work, self.found, number, stop, again)
            if again := number < stop:
                self.found = _doubled(self.found)
        return _Part.of(self.found)

    def begin(self, chosen: Polynomials) -> None:
        """Set everything to the first polynomial of an a."""
        work, words = self.work, self._words
        work.a[:] = limbs(chosen.a, words)
        work.b[:] = limbs(chosen.b, words)
        work.c[:] = limbs((chosen.b**2 - self._number) // (4 * chosen.a), words)
        for place, part in enumerate(chosen.parts):
            work.parts[place] = limbs(part, words)
        work.gammas[:] = chosen.gammas
        work.logs[work.factors_of_a] = self.tables.logs[work.factors_of_a]
        work.factors_of_a[:] = chosen.indices
        work.logs[work.factors_of_a] = 0
        self._begin_roots(chosen)

    def _begin_roots(self, chosen: Polynomials) -> None:
        size = len(self.tables.primes)
        sums = (np.ones(size), np.zeros(size))
        for q, gamma, delta in zip(chosen.primes, chosen.gammas, self.work.deltas, strict=True):
            if q not in self._inverses:
                self._inverses[q] = initialisation.negative_inverses(q)
            initialisation.look_up(
                self.tables.primes, q, self._inverses[q], self._places, self._cofactors
            )
            initialisation.add_factor(self.tables, (q, gamma), self._cofactors, delta, sums)
        self.work.deltas[-1] = 0  # the last B never changes its sign
        initialisation.start(self.tables, self.work, sums, float(chosen.shifted))


def _doubled(found: tables.Found) -> tables.Found:
    """Return twice the room, with the same relations in it."""
    larger = tables.found(2 * len(found.numbers))
    pairs = cast(
        "Iterable[tuple[npt.NDArray[Any], npt.NDArray[Any]]]", zip(found, larger, strict=True)
    )
    for old, new in pairs:
        new[: len(old)] = old
    return larger
