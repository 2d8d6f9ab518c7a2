"""A unit of sieving: a range of a-indices, sieved to the end of the last one begun."""

import time
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from factor_worker.engine.siqs import codec, initialisation, kernel, polynomials, tables, verification
from factor_worker.engine.siqs.division import Found
from factor_worker.engine.siqs.parameters import Parameters

ROOM = 4096
MOST_ROWS = 160


class Batch(NamedTuple):
    """What a unit found."""

    done: int
    """a-indices that were sieved to the end, counted from the first."""
    full: int
    partial: int
    data: bytes
    """Relations, as `codec` writes them."""


def sieve(
    n: int, parameters: Parameters, first: int, count: int, *, seconds: float | None = None
) -> Batch:
    """Sieve a-indices first … first + count - 1, or fewer if `seconds` run out; at least one.

    Raises:
        IndexError: there are not so many a-indices.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    number = tables.number(n, parameters)
    work = tables.Workspace.make(number, parameters.a_factors)
    found = Found.make(ROOM)
    parts: list[codec.Columns] = []
    full = partial = done = 0
    while done < count and (not done or deadline is None or time.monotonic() < deadline):
        family = polynomials.family(n, parameters, first + done)
        inverses = np.stack([_inverses(n, parameters, q) for q in family.primes])
        leading = tables.leading(family, inverses, number.length)
        while not kernel.sieve_family(number, leading, work, found):
            found = Found.make(2 * len(found.positions))
        relations, factors, more_full, more_partial = found.counts.tolist()
        parts.append(
            codec.Columns(
                first,
                np.full(relations, done, dtype=np.uint32),
                found.polynomials[:relations].copy(),
                found.positions[:relations].copy(),
                found.lengths[:relations].astype(np.uint32),
                found.large[:relations].copy(),
                found.factors[:factors].copy(),
            )
        )
        full += more_full
        partial += more_partial
        done += 1
    batch = codec.Columns(
        first, *(np.concatenate(column) for column in list(zip(*parts, strict=True))[1:])
    )
    verification.check(n, parameters, batch, done)
    data = codec.encode(batch)
    return Batch(done, full, partial, data)


@lru_cache(maxsize=MOST_ROWS)
def _inverses(n: int, parameters: Parameters, q: int) -> tables.U32:
    """Return 2^32/q modulo every prime of the base: an a's primes come again and again."""
    number = tables.number(n, parameters)
    row = np.zeros(len(number.primes), dtype=np.uint32)
    initialisation.inverses_of(number, np.uint64(q), row)
    return row
