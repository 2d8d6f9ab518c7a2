"""Tables: the arrays that the kernels work on, and how large each may become.

Kernels are compiled for these very types; every array has the type that its comment names.
"""

from typing import Final, NamedTuple

import numpy as np

from factor_worker.engine.siqs.polynomials import factor_base
from factor_worker.engine.siqs.polynomials.factor_base import FIRST_ODD
from factor_worker.engine.siqs.polynomials.parameters import BLOCK, Parameters
from factor_worker.engine.siqs.words.arithmetic import Limbs
from factor_worker.engine.siqs.words.arrays import Bytes, Floats, Ids, Index
from factor_worker.engine.siqs.words.lanes import LANES, MANY

NEAR: Final = 4096
"""Smaller primes have many hits in each block, so they are sieved block by block."""
FAR: Final = BLOCK
"""Hits of larger primes are collected before they are sieved."""
STRETCH: Final = 256
"""Far primes whose hits are collected at a time: these stay in the first-level cache."""
HIT_BIT: Final = 128
"""A sieve byte with this bit is a candidate."""
LENIENCE: Final = 1
"""Bits by which the rounded logarithms of all sieved primes, powers left out, may be too low ..."""
LENIENCE_OF_SMALL: Final = 8
"""... and without far primes, when dividing costs little and powers are many."""
MOST_FACTORS: Final = 256
"""Prime factors of one value, with multiplicity; values have fewer bits."""


class Limits(NamedTuple):
    """Single numbers."""

    sieved: int
    """Index of the smallest prime that is sieved."""
    middle: int
    """Index of the smallest prime that is not near."""
    far: int
    """Index of the smallest far prime: whole vectors of them follow to the end of the base."""
    length: int
    """Positions in the interval."""
    reach: int
    start: int
    """What sieve bytes start from, so that `HIT_BIT` appears at the threshold."""
    left: int
    """Bits that the large primes of a relation may have together."""
    hopeless: int
    """Bits above which a candidate is given up as soon as its smallest primes are known."""
    large_size: int
    """Bits of the largest large prime."""
    square_size: int
    """Bits of the square of the largest prime of the base: what is smaller is no product of two."""
    large_bound: int
    cofactor_bound: int


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
    inverses32: Ids
    """p⁻¹ mod 2^32."""
    quotients32: Ids
    """⌊(2^32 - 1)/p⌋."""
    groups: Index
    """int64[g, 4]: far primes from, to, most hits of a root, and their logarithm."""
    limits: Limits


class Work(NamedTuple):
    """What changes from polynomial to polynomial."""

    first: Ids
    """Where each prime has its first hits, below the prime."""
    second: Ids
    deltas: Ids
    """uint32[s, size]: what roots move by when the sign of B_l changes."""
    lower: Ids
    """The next hits of the near primes, seen from the block that is sieved next."""
    upper: Ids
    logs: Bytes
    """Logarithms, 0 for the primes of a."""
    sieve: Bytes
    """uint8[interval]."""
    hits: Ids
    """Positions that far primes hit, group by group. There is room for all that there can be."""
    ends: Index
    """int64[g]: where the hits of each group end."""
    candidates: Ids
    counts: Index
    """Candidates."""
    a: Limbs
    b: Limbs
    c: Limbs
    parts: Limbs
    """uint64[s, L]: B_l."""
    gammas: Limbs
    factors_of_a: Index
    """Indices into the base."""
    value: Limbs
    quotient: Limbs


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
    middle = max(sieved, int(np.searchsorted(p, NEAR)))
    count = len(p) - max(middle, int(np.searchsorted(p, FAR)))
    far = max(sieved, len(p) - -(-count // LANES) * LANES)
    left = max(parameters.cofactor_bound, parameters.large_bound).bit_length()
    return Table(
        primes=base.primes,
        roots=base.roots,
        logs=base.logs,
        inverses=base.inverses,
        reciprocals=1.0 / p,
        reach=(parameters.reach % p).astype(np.uint32),
        inverses32=base.inverses32,
        quotients32=base.quotients32,
        groups=_groups(base, far, parameters.blocks * BLOCK),
        limits=Limits(
            sieved=sieved,
            middle=min(middle, far),
            far=far,
            length=parameters.blocks * BLOCK,
            reach=parameters.reach,
            start=HIT_BIT - _threshold(n, parameters, left),
            left=left,
            hopeless=left + (LENIENCE if far < len(p) else LENIENCE_OF_SMALL),
            large_size=parameters.large_bound.bit_length(),
            square_size=(int(p[-1]) ** 2).bit_length(),
            large_bound=parameters.large_bound,
            cofactor_bound=parameters.cofactor_bound,
        ),
    )


def _threshold(n: int, parameters: Parameters, left: int) -> int:
    """Return the bits of logarithms that make a candidate; values are about M·√(kn/8)."""
    bits = (n * parameters.multiplier).bit_length() // 2 + parameters.reach.bit_length() - 2
    return min(HIT_BIT - 1, max(1, bits - left - parameters.slack))


def _groups(base: factor_base.FactorBase, far: int, interval: int) -> Index:
    """Cut the far primes where the logarithm or the number of hits changes, and every `STRETCH`."""
    rows: list[list[int]] = []
    for start in range(far, len(base.primes), LANES):
        kind = [-(-interval // int(base.primes[start])), int(base.logs[start])]
        if not rows or rows[-1][2:] != kind or start - rows[-1][0] >= STRETCH:
            rows.append([start, start, *kind])
        rows[-1][1] = start + LANES
    return np.array(rows, dtype=np.int64).reshape(-1, 4)


def work(tables: Table, factors: int, words: int) -> Work:
    """Return room for the polynomials of any a with so many prime factors."""
    size, limits = len(tables.primes), tables.limits
    most = sum(2 * (stop - start) * hits for start, stop, hits, _ in tables.groups.tolist())
    return Work(
        first=np.zeros(size, dtype=np.uint32),
        second=np.zeros(size, dtype=np.uint32),
        deltas=np.zeros((factors, size), dtype=np.uint32),
        lower=np.zeros(limits.middle, dtype=np.uint32),
        upper=np.zeros(limits.middle, dtype=np.uint32),
        logs=tables.logs.copy(),
        sieve=np.zeros(limits.length, dtype=np.uint8),
        hits=np.zeros(most + MANY, dtype=np.uint32),
        ends=np.zeros(len(tables.groups), dtype=np.int64),
        candidates=np.zeros(limits.length, dtype=np.uint32),
        counts=np.zeros(1, dtype=np.int64),
        a=np.zeros(words, dtype=np.uint64),
        b=np.zeros(words, dtype=np.uint64),
        c=np.zeros(words, dtype=np.uint64),
        parts=np.zeros((factors, words), dtype=np.uint64),
        gammas=np.zeros(factors, dtype=np.uint64),
        factors_of_a=np.zeros(factors, dtype=np.int64),
        value=np.zeros(words, dtype=np.uint64),
        quotient=np.zeros(words, dtype=np.uint64),
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
