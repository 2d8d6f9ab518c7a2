"""Tables that the kernels work on: what belongs to a number, to an a, and to one worker."""

from functools import lru_cache
from typing import Final, NamedTuple

import gmpy2
import numpy as np
import numpy.typing as npt

from factor_worker.engine.siqs import factor_base, limbs, polynomials
from factor_worker.engine.siqs.lanes import LANES
from factor_worker.engine.siqs.limbs import LIMBS, Limbs
from factor_worker.engine.siqs.parameters import BLOCK, Parameters

U32 = npt.NDArray[np.uint32]
U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

FIRST_ODD: Final = 2
"""Index of the first odd prime in the factor base."""
NEAR: Final = 4096
"""Smaller primes are sieved block by block: in a block they have so many hits that it pays."""
FAR: Final = BLOCK
"""Larger primes have few hits in the interval: they are collected before they are sieved."""
STRETCH: Final = 16
"""Vectors of far primes whose hits are collected at a time: they stay in the first-level cache."""
HALF_BIT: Final = 0.5
TOLERANCE: Final = 4
"""Bits by which logarithms may be wrong where all small primes are known."""
BESIDE: Final = 128
"""Hits that are written or read beyond the last one."""
NO_PRIME: Final = (1 << 31) - 1
"""Fills the last vector; no position is ever one of its roots."""


class Number(NamedTuple):
    """What all units of a number share.

    Arrays are indexed like the factor base and filled up to whole vectors.
    """

    primes: U32
    """-1 and 2 are represented by 1 and 2; they are not sieved."""
    roots: U32
    """A square root of kN modulo the prime."""
    inverses: U32
    """Of the prime modulo 2^32."""
    limits: U32
    """(2^32 - 1) // prime."""
    ones: U32
    """2^32 modulo the prime: Montgomery's 1."""
    halves: U32
    """M modulo the prime."""
    wide_inverses: Limbs
    """Of the prime modulo 2^64."""
    logs: U8
    """Base 2, rounded."""
    groups: I64
    """int64[g, 4]: begin and end of a stretch of far primes, hits that each root may have, log."""
    kn: Limbs
    size: int
    """Of the factor base."""
    sieved: int
    """Index of the first prime that is sieved."""
    middle: int
    """Index of the first prime that is not near."""
    far: int
    """Index of the first far prime."""
    length: int
    """Of the interval."""
    threshold: int
    """Bits that sieved primes must contribute."""
    small_threshold: int
    """Bits that primes must contribute when those left out by the sieve are known."""
    large_bound: int
    cofactor_bound: int


@lru_cache(maxsize=4)
def number(n: int, parameters: Parameters) -> Number:
    """Prepare the tables of a number."""
    kn = n * parameters.multiplier
    base = factor_base.first(kn, parameters.base)
    size = len(base)
    padded = -(-size // LANES) * LANES
    primes = np.full(padded, NO_PRIME, dtype=np.uint64)
    primes[:size] = (1, *base[1:])
    roots = np.zeros(padded, dtype=np.uint32)
    roots[2:size] = [polynomials.square_root(kn % prime, prime) for prime in base[2:]]
    odd = primes | np.uint64(1)
    wide_inverses = odd.copy()
    for _ in range(6):  # Newton: each step doubles the good bits, 3 at first
        wide_inverses *= np.uint64(2) - odd * wide_inverses
    length = parameters.blocks * BLOCK
    logs = np.rint(np.log2(primes)).astype(np.uint8)
    sieved = max(FIRST_ODD, int(np.searchsorted(primes[:size], parameters.sieved_from)))
    middle = max(sieved, int(np.searchsorted(primes[:size], NEAR)))
    far = max(middle, int(np.searchsorted(primes[:size], FAR)))
    far = min(padded, -(-far // LANES) * LANES)
    biggest = max(parameters.large_bound, parameters.cofactor_bound)
    bits = float(gmpy2.log2(kn) / 2 + gmpy2.log2(length / 2)) - HALF_BIT
    small = bits - float(gmpy2.log2(biggest))
    return Number(
        primes=primes.astype(np.uint32),
        roots=roots,
        inverses=wide_inverses.astype(np.uint32),
        limits=(np.uint64(2**32 - 1) // primes).astype(np.uint32),
        ones=(np.uint64(2**32) % primes).astype(np.uint32),
        halves=(np.uint64(length // 2) % primes).astype(np.uint32),
        wide_inverses=wide_inverses,
        logs=logs,
        groups=_groups(primes, logs, far, length),
        kn=limbs.from_int(kn, 2 * LIMBS),
        size=size,
        sieved=sieved,
        middle=middle,
        far=far,
        length=length,
        threshold=max(1, min(127, round(small - parameters.slack))),
        small_threshold=round(small) - TOLERANCE,
        large_bound=parameters.large_bound,
        cofactor_bound=parameters.cofactor_bound,
    )


def _groups(primes: Limbs, logs: U8, far: int, length: int) -> I64:
    """Cut the far primes into stretches of whole vectors with the same logarithm and hits."""
    groups: list[list[int]] = []
    for begin in range(far, len(primes), LANES):
        kind = [-(-length // int(primes[begin])), int(logs[begin])]
        if groups and groups[-1][2:] == kind and begin - groups[-1][0] < STRETCH * LANES:
            groups[-1][1] = begin + LANES
        else:
            groups.append([begin, begin + LANES, *kind])
    return np.array(groups, dtype=np.int64).reshape(-1, 4)


class Leading(NamedTuple):
    """What belongs to one a."""

    indices: U32
    gammas: U32
    inverses: U32
    """uint32[s, base]: 2^32/q modulo every prime, for every prime q of a."""
    parts: Limbs
    """uint64[s, LIMBS]: 2·B_l."""
    inverse: Limbs
    """Of a modulo 2^(64·LIMBS)."""
    a: Limbs
    start: Limbs
    """b - aM of polynomial 0."""


def leading(family: polynomials.Family, inverses: U32, length: int) -> Leading:
    """Prepare the tables of an a."""
    return Leading(
        indices=np.array(family.indices, dtype=np.uint32),
        gammas=np.array(family.gammas, dtype=np.uint32),
        inverses=inverses,
        parts=np.array([limbs.from_int(2 * part) for part in family.parts]),
        inverse=limbs.from_int(int(gmpy2.invert(family.a, 1 << 64 * LIMBS))),
        a=limbs.from_int(family.a),
        start=limbs.from_int(family.b(0) - family.a * (length // 2)),
    )


class Workspace(NamedTuple):
    """Arrays that one worker's kernel writes to."""

    first: U32
    second: U32
    """The roots of the polynomial at hand."""
    steps: U32
    """uint32[s, base]: how roots change with the sign of B_l."""
    lower: U32
    upper: U32
    """Next positions of the near primes."""
    sieve: U8
    hits: U32
    """Positions that far primes hit, of one group after the other."""
    ends: I64
    """int64[g]: where each group's hits end."""
    candidates: U32
    x: Limbs
    square: Limbs
    value: Limbs
    quotient: Limbs

    @classmethod
    def make(cls, number: Number, factors: int) -> "Workspace":
        """Make room for a number whose a have so many factors."""
        padded = len(number.primes)
        most = sum(2 * (end - begin) * hits for begin, end, hits, _ in number.groups.tolist())
        return cls(
            first=np.zeros(padded, dtype=np.uint32),
            second=np.zeros(padded, dtype=np.uint32),
            steps=np.zeros((factors, padded), dtype=np.uint32),
            lower=np.zeros(number.middle, dtype=np.uint32),
            upper=np.zeros(number.middle, dtype=np.uint32),
            sieve=np.zeros(number.length, dtype=np.uint8),
            hits=np.zeros(most + BESIDE, dtype=np.uint32),
            ends=np.zeros(len(number.groups), dtype=np.int64),
            candidates=np.zeros(number.length, dtype=np.uint32),
            x=np.zeros(LIMBS, dtype=np.uint64),
            square=np.zeros(2 * LIMBS, dtype=np.uint64),
            value=np.zeros(LIMBS, dtype=np.uint64),
            quotient=np.zeros(LIMBS, dtype=np.uint64),
        )
