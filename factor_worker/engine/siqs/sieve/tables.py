"""Tables: the arrays that the sieve's kernels work on, and how large each of them becomes.

Kernels are compiled for these very types, so every array has the element type that its comment names; s is
the number of primes of a, L the number of words of a value, `size` that of the factor base.

The primes of the base come in four ranges, by index: primes below `skip` are not sieved; *near* primes have
many hits in a block; *middle* primes are sieved over the whole interval; *far* primes are larger than a
block, and their hits are listed first. (They are not called small, medium and large because large primes
are something else: those of partial relations, above the factor base.)
"""

from typing import Final, NamedTuple

import numpy as np

from factor_worker.engine.siqs.polynomials import factor_base
from factor_worker.engine.siqs.polynomials.factor_base import FIRST_ODD
from factor_worker.engine.siqs.polynomials.parameters import BLOCK, Parameters
from factor_worker.engine.siqs.words.arrays import Bytes, Floats, Ids, Index, Limbs
from factor_worker.engine.siqs.words.lanes import CHUNK, LANES

NEAR_BELOW: Final = 4096
"""Sieved primes below this are near: they are sieved block by block."""
FAR_FROM: Final = BLOCK
"""Primes above this are far, and a few below that fill up the first vector: their hits are listed first."""
GROUP_LIMIT: Final = 256
"""Far primes in a group at most, so that the hits of a group stay in the first-level cache."""
CANDIDATE_BIT: Final = 128
"""A sieve byte with this bit set is a candidate."""
TOLERANCE_BITS: Final = 1
"""Bits by which the sum of rounded logarithms may be too low, prime powers left out, before trial
division is given up early ..."""
TOLERANCE_BITS_WITHOUT_FAR: Final = 8
"""... and in bases without far primes, where trial division costs little and prime powers are common."""
FACTORS_LIMIT: Final = 256
"""More prime factors, with multiplicity, than a value can have: values have fewer bits."""


class Limits(NamedTuple):
    """Single numbers."""

    first_sieved: int
    """Index of the smallest prime that is sieved."""
    first_middle: int
    """Index of the smallest middle prime."""
    first_far: int
    """Index of the smallest far prime. From here to the end of the base there are only whole vectors."""
    length: int
    """Positions in the sieve interval, 2M."""
    half_interval: int
    """M."""
    initial_byte: int
    """What sieve bytes start from, so that `CANDIDATE_BIT` gets set at the threshold."""
    cofactor_bits: int
    """Bits of the largest cofactor that a relation may have."""
    hopeless_bits: int
    """A candidate is dropped once the unsieved primes are divided out if more bits than this are left
    beyond what the sieve has seen."""
    large_prime_bits: int
    """Bits of the largest large prime."""
    square_bits: int
    """Bits of the square of the largest prime of the base: smaller cofactors are no product of two."""
    large_bound: int
    cofactor_bound: int


class Tables(NamedTuple):
    """What depends only on the number and its parameters; the first columns are those of `FactorBase`."""

    primes: Ids
    roots: Ids
    logs: Bytes
    inverses: Limbs
    reciprocals: Floats
    """float64[size]: 1/p."""
    half_interval_mod_p: Ids
    """uint32[size]: M mod p."""
    inverses32: Ids
    """uint32[size]: p⁻¹ mod 2^32."""
    quotients32: Ids
    """uint32[size]: ⌊(2^32 - 1)/p⌋."""
    groups: Index
    """int64[g, 4]: groups of far primes: first index, last index + 1, most hits of a root, logarithm."""
    limits: Limits


class Workspace(NamedTuple):
    """What changes from polynomial to polynomial."""

    roots1: Ids
    """uint32[size]: the first position, below p, where each prime divides the value ..."""
    roots2: Ids
    """uint32[size]: ... and the same for the other square root of kn."""
    deltas: Ids
    """uint32[s, size]: B_l/a mod p, the distance that roots move when the sign of B_l changes."""
    lower: Ids
    """uint32: the next hit of each near prime, relative to the block that is sieved next ..."""
    upper: Ids
    """uint32: ... and its hit after that, from the other root."""
    logs: Bytes
    """uint8[size]: logarithms, 0 for the primes of a, whose roots are not computed."""
    sieve: Bytes
    """uint8[2M]: the sieve bytes."""
    hits: Ids
    """uint32: positions that far primes hit, group by group. It has room for the most there can be."""
    hit_ends: Index
    """int64[g]: where the hits of each group end."""
    candidates: Ids
    """uint32[2M]: positions of candidates."""
    candidate_count: Index
    """int64[1]."""
    a: Limbs
    """uint64[L]: Q(x) = (ax + b)x + c, like b and c."""
    b: Limbs
    c: Limbs
    b_terms: Limbs
    """uint64[s, L]: B_l."""
    gammas: Limbs
    """uint64[s]: B_l·q_l/a."""
    a_factors: Index
    """int64[s]: the primes of a, as indices into the factor base."""
    value: Limbs
    """uint64[L]: the value that is being divided."""
    quotient: Limbs
    """uint64[L]: scratch."""


class RelationBuffer(NamedTuple):
    """Relations of one a as the kernel finds them, with room for more."""

    polynomials: Ids
    """uint32[m]: the number of the polynomial."""
    positions: Ids
    """uint32[m]: x + M."""
    ends: Index
    """int64[m]: where each relation's factors end."""
    factors: Ids
    """uint32: the prime factors of Q(x) as indices into the factor base, with multiplicity, -1 and 2
    among them."""
    large_primes: Limbs
    """uint64[m, 2]: large primes in ascending order, 1 for none."""
    counts: Index
    """int64[2]: how many relations and factors there are."""


def build(n: int, parameters: Parameters) -> Tables:
    """Return the tables of a number."""
    base = factor_base.of(n, parameters)
    p = base.primes.astype(np.uint64)
    sieved = max(FIRST_ODD, int(np.searchsorted(p, parameters.skip)))
    middle = max(sieved, int(np.searchsorted(p, NEAR_BELOW)))
    count = len(p) - max(middle, int(np.searchsorted(p, FAR_FROM)))
    far = max(sieved, len(p) - -(-count // LANES) * LANES)
    left = max(parameters.cofactor_bound, parameters.large_bound).bit_length()
    return Tables(
        primes=base.primes,
        roots=base.roots,
        logs=base.logs,
        inverses=base.inverses,
        reciprocals=1.0 / p,
        half_interval_mod_p=(parameters.half_interval % p).astype(np.uint32),
        inverses32=base.inverses32,
        quotients32=base.quotients32,
        groups=_groups(base, far, parameters.blocks * BLOCK),
        limits=Limits(
            first_sieved=sieved,
            first_middle=min(middle, far),
            first_far=far,
            length=parameters.blocks * BLOCK,
            half_interval=parameters.half_interval,
            initial_byte=CANDIDATE_BIT - _threshold(n, parameters, left),
            cofactor_bits=left,
            hopeless_bits=left + (TOLERANCE_BITS if far < len(p) else TOLERANCE_BITS_WITHOUT_FAR),
            large_prime_bits=parameters.large_bound.bit_length(),
            square_bits=(int(p[-1]) ** 2).bit_length(),
            large_bound=parameters.large_bound,
            cofactor_bound=parameters.cofactor_bound,
        ),
    )


def _threshold(n: int, parameters: Parameters, left: int) -> int:
    """Return the sum of logarithms that makes a candidate; values are about M·√(kn/8)."""
    bits = (n * parameters.multiplier).bit_length() // 2 + parameters.half_interval.bit_length() - 2
    return min(CANDIDATE_BIT - 1, max(1, bits - left - parameters.slack))


def _groups(base: factor_base.FactorBase, far: int, interval: int) -> Index:
    """Cut the far primes into groups with one logarithm, one number of hits, and up to `GROUP_LIMIT`."""
    rows: list[list[int]] = []
    for start in range(far, len(base.primes), LANES):
        kind = [-(-interval // int(base.primes[start])), int(base.logs[start])]
        if not rows or rows[-1][2:] != kind or start - rows[-1][0] >= GROUP_LIMIT:
            rows.append([start, start, *kind])
        rows[-1][1] = start + LANES
    return np.array(rows, dtype=np.int64).reshape(-1, 4)


def workspace(tables: Tables, factors: int, words: int) -> Workspace:
    """Return a workspace for any a with `factors` primes and values of `words` words."""
    size, limits = len(tables.primes), tables.limits
    most = sum(2 * (stop - start) * hits for start, stop, hits, _ in tables.groups.tolist())
    return Workspace(
        roots1=np.zeros(size, dtype=np.uint32),
        roots2=np.zeros(size, dtype=np.uint32),
        deltas=np.zeros((factors, size), dtype=np.uint32),
        lower=np.zeros(limits.first_middle, dtype=np.uint32),
        upper=np.zeros(limits.first_middle, dtype=np.uint32),
        logs=tables.logs.copy(),
        sieve=np.zeros(limits.length, dtype=np.uint8),
        hits=np.zeros(most + CHUNK, dtype=np.uint32),
        hit_ends=np.zeros(len(tables.groups), dtype=np.int64),
        candidates=np.zeros(limits.length, dtype=np.uint32),
        candidate_count=np.zeros(1, dtype=np.int64),
        a=np.zeros(words, dtype=np.uint64),
        b=np.zeros(words, dtype=np.uint64),
        c=np.zeros(words, dtype=np.uint64),
        b_terms=np.zeros((factors, words), dtype=np.uint64),
        gammas=np.zeros(factors, dtype=np.uint64),
        a_factors=np.zeros(factors, dtype=np.int64),
        value=np.zeros(words, dtype=np.uint64),
        quotient=np.zeros(words, dtype=np.uint64),
    )


def relation_buffer(relations: int) -> RelationBuffer:
    """Return an empty buffer with room for `relations` relations."""
    return RelationBuffer(
        polynomials=np.zeros(relations, dtype=np.uint32),
        positions=np.zeros(relations, dtype=np.uint32),
        ends=np.zeros(relations, dtype=np.int64),
        factors=np.zeros(relations * FACTORS_LIMIT // 4 + FACTORS_LIMIT, dtype=np.uint32),
        large_primes=np.zeros((relations, 2), dtype=np.uint64),
        counts=np.zeros(2, dtype=np.int64),
    )
