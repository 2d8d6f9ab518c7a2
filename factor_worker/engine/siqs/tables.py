"""Tables: the arrays that the kernels work on, and how large each may become.

Kernels are compiled for these very types; every array has the type that its comment names.
"""

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from factor_worker.engine.siqs import factor_base
from factor_worker.engine.siqs.arithmetic import Limbs
from factor_worker.engine.siqs.factor_base import FIRST_ODD, Ids
from factor_worker.engine.siqs.parameters import BLOCK, Parameters

Words16 = npt.NDArray[np.uint16]
Bytes = npt.NDArray[np.uint8]
Index = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

CHUNK: Final = 1024
"""Large primes whose roots are renewed and put into buckets at a time: they stay in the cache."""
SPARE: Final = 64
"""Bytes after a block that take the hits that fall outside it."""
HIT_BIT: Final = 128
"""A sieve byte with this bit is a candidate."""
MOST_FACTORS: Final = 256
"""Prime factors of one value, with multiplicity; values have fewer bits."""


class Limits(NamedTuple):
    """Single numbers."""

    sieved: int
    """Index of the smallest prime that is sieved."""
    large: int
    """Index of the smallest prime that goes to buckets."""
    blocks: int
    reach: int
    start: int
    """What sieve bytes start from, so that `HIT_BIT` appears at the threshold."""
    left: int
    """Bits that the large primes of a relation may have together."""
    large_bound: int
    cofactor_bound: int
    capacity: int
    """Entries in a bucket."""


class Table(NamedTuple):
    """What depends on the number and its parameters alone."""

    primes: Ids
    roots: Ids
    logs: Bytes
    inverses: Limbs
    reciprocals: Floats
    """1/p."""
    reach: Ids
    """M mod p."""
    magics: Limbs
    """⌊2^32/p⌋ + 1: x·magic / 2^32 is x/p rounded down while x·p < 2^32."""
    primes16: Words16
    """Of the medium primes, from `sieved` to `large`; also the next two."""
    inverses16: Words16
    """p⁻¹ mod 2^16."""
    quotients16: Words16
    """⌊65535/p⌋: x is a multiple of p if and only if x·p⁻¹ mod 2^16 is at most this."""
    groups: Index
    """int64[g, 3]: medium primes from, to, and ⌊BLOCK/p⌋."""
    chunks: Index
    """int64[c, 4]: large primes from, to, ⌊interval/p⌋, and their logarithm."""
    limits: Limits


class Work(NamedTuple):
    """What changes from polynomial to polynomial."""

    first: Ids
    """The smaller of the two positions of hits modulo each prime, or the larger one."""
    second: Ids
    deltas: Ids
    """uint32[s, size]: what roots move by when the sign of B_l changes."""
    first16: Words16
    """The next hits of the medium primes, seen from the block that is sieved next."""
    second16: Words16
    logs: Bytes
    """Logarithms, 0 for the primes of a."""
    block: Bytes
    buckets: Ids
    """uint32[(blocks + 1) · capacity]: index of the prime and position, see `buckets`."""
    ends: Index
    """int64[chunks + 1, blocks + 1]: where each chunk ends in each bucket."""
    hits: Limbs
    """Roots of a chunk that hit anything."""
    a: Limbs
    b: Limbs
    c: Limbs
    parts: Limbs
    """uint64[s, L]: B_l."""
    gammas: Limbs
    factors_of_a: Index
    """Indices into the base."""
    flags: Bytes
    """Which medium primes divide the candidate at hand; some bytes more, which stay 0."""
    matches: Index
    """Indices of the medium and large primes that divide it."""
    value: Limbs
    quotient: Limbs
    factors: Ids
    """Prime factors of the candidate at hand."""


class Found(NamedTuple):
    """Relations of one a, until they are written out."""

    numbers: Ids
    """Which polynomial."""
    positions: Ids
    """x + M."""
    ends: Index
    """Where each relation's factors end."""
    factors: Ids
    """Indices of the prime factors of Q(x), with multiplicity, -1 and 2 among them."""
    large: Limbs
    """uint64[m, 2], ascending, 1 for none."""
    counts: Index
    """Relations, factors."""


def table(n: int, parameters: Parameters) -> Table:
    """Return the tables for a number."""
    base = factor_base.table(n, parameters)
    p = base.primes.astype(np.uint64)
    sieved = max(FIRST_ODD, int(np.searchsorted(p, parameters.skip)))
    large = max(sieved, int(np.searchsorted(p, BLOCK)))
    medium = p[sieved:large]
    left = max(parameters.cofactor_bound, parameters.large_bound).bit_length()
    return Table(
        primes=base.primes,
        roots=base.roots,
        logs=base.logs,
        inverses=base.inverses,
        reciprocals=1.0 / p,
        reach=(parameters.reach % p).astype(np.uint32),
        magics=(np.uint64(1 << 32) // p) + np.uint64(1),
        primes16=medium.astype(np.uint16),
        inverses16=(base.inverses[sieved:large] & np.uint64(0xFFFF)).astype(np.uint16),
        quotients16=(np.uint64(0xFFFF) // medium).astype(np.uint16),
        groups=_groups(medium.astype(np.int64)),
        chunks=_chunks(base, large, parameters.blocks * BLOCK),
        limits=Limits(
            sieved=sieved,
            large=large,
            blocks=parameters.blocks,
            reach=parameters.reach,
            start=HIT_BIT - _threshold(n, parameters, left),
            left=left,
            large_bound=parameters.large_bound,
            cofactor_bound=parameters.cofactor_bound,
            capacity=_capacity(p[large:]),
        ),
    )


def _threshold(n: int, parameters: Parameters, left: int) -> int:
    """Return the bits of logarithms that make a candidate; values are about M·√(kn/8)."""
    bits = (n * parameters.multiplier).bit_length() // 2 + parameters.reach.bit_length() - 2
    return min(HIT_BIT - 1, max(1, bits - left - parameters.slack))


def _capacity(primes: Limbs) -> int:
    """Return room for ten standard deviations more than a bucket will get, and a chunk to spare."""
    expected = float(np.sum(2 * BLOCK / primes)) if len(primes) else 0.0
    return int(expected + 10 * math.sqrt(expected)) + 2 * CHUNK


def _groups(medium: Index) -> Index:
    """Group primes by how often each of their roots certainly hits a block."""
    times = BLOCK // medium
    changes = np.flatnonzero(np.diff(times)) + 1
    starts = np.concatenate((np.zeros(1, dtype=np.int64), changes))
    stops = np.concatenate((changes, np.array([len(medium)])))
    return np.stack((starts, stops, times[starts]), axis=1) if len(medium) else _EMPTY_GROUPS


_EMPTY_GROUPS: Final = np.zeros((0, 3), dtype=np.int64)


def _chunks(base: factor_base.FactorBase, large: int, interval: int) -> Index:
    """Cut the large primes where the logarithm or the certain hits change, and every `CHUNK`."""
    rows = []
    start = large
    times = interval // base.primes.astype(np.int64)
    while start < len(times):
        stop = min(start + CHUNK, len(times))
        same = (times[start:stop] == times[start]) & (base.logs[start:stop] == base.logs[start])
        stop = start + int(np.argmin(same)) if not same.all() else stop
        rows.append((start, stop, int(times[start]), int(base.logs[start])))
        start = stop
    return np.array(rows, dtype=np.int64).reshape(-1, 4)


def work(tables: Table, factors: int, words: int) -> Work:
    """Return room for the polynomials of any a with so many prime factors."""
    size, limits = len(tables.primes), tables.limits
    blocks, medium = limits.blocks, len(tables.primes16)
    return Work(
        first=np.zeros(size, dtype=np.uint32),
        second=np.zeros(size, dtype=np.uint32),
        deltas=np.zeros((factors, size), dtype=np.uint32),
        first16=np.zeros(medium, dtype=np.uint16),
        second16=np.zeros(medium, dtype=np.uint16),
        logs=tables.logs.copy(),
        block=np.zeros(BLOCK + SPARE, dtype=np.uint8),
        buckets=np.zeros((blocks + 1) * limits.capacity + SPARE, dtype=np.uint32),
        ends=np.zeros((len(tables.chunks) + 1, blocks + 1), dtype=np.int64),
        hits=np.zeros(2 * CHUNK + 1, dtype=np.uint64),
        a=np.zeros(words, dtype=np.uint64),
        b=np.zeros(words, dtype=np.uint64),
        c=np.zeros(words, dtype=np.uint64),
        parts=np.zeros((factors, words), dtype=np.uint64),
        gammas=np.zeros(factors, dtype=np.uint64),
        factors_of_a=np.zeros(factors, dtype=np.int64),
        flags=np.zeros(medium + 8 - medium % 8, dtype=np.uint8),
        matches=np.zeros(MOST_FACTORS + medium, dtype=np.int64),
        value=np.zeros(words, dtype=np.uint64),
        quotient=np.zeros(words, dtype=np.uint64),
        factors=np.zeros(MOST_FACTORS, dtype=np.uint32),
    )


def found(relations: int) -> Found:
    """Return room for so many relations."""
    return Found(
        numbers=np.zeros(relations, dtype=np.uint32),
        positions=np.zeros(relations, dtype=np.uint32),
        ends=np.zeros(relations, dtype=np.int64),
        factors=np.zeros(relations * MOST_FACTORS // 4 + MOST_FACTORS, dtype=np.uint32),
        large=np.zeros((relations, 2), dtype=np.uint64),
        counts=np.zeros(2, dtype=np.int64),
    )
