"""Tables that the kernels work on: what belongs to a number, and what belongs to an a."""

from functools import lru_cache
from typing import Final, NamedTuple

import gmpy2
import numpy as np
import numpy.typing as npt

from factor_worker.engine.siqs import factor_base, limbs, polynomials
from factor_worker.engine.siqs.limbs import Limbs
from factor_worker.engine.siqs.parameters import BLOCK, Parameters

U32 = npt.NDArray[np.uint32]
U8 = npt.NDArray[np.uint8]

FIRST_ODD: Final = 2
"""Index of the first odd prime in the factor base."""
HALF_BIT: Final = 0.5


class Number(NamedTuple):
    """What all units of a number share; arrays are indexed like the factor base."""

    primes: U32
    """-1 and 2 are represented by 1 and 2."""
    roots: U32
    """A square root of kN modulo the prime."""
    inverses: U32
    """Of the prime modulo 2^32."""
    limits: U32
    """(2^32 - 1) // prime: p divides d exactly if d·inverse is at most this."""
    wide_inverses: Limbs
    """Of the prime modulo 2^64."""
    logs: U8
    """Base 2, rounded."""
    kn: Limbs
    sieved: int
    """Index of the first prime that is sieved."""
    large: int
    """Index of the first prime above a block."""
    length: int
    """Of the interval."""
    threshold: int
    """Bits that sieved primes must contribute."""
    small_threshold: int
    """Bits that all primes but the last ones must contribute."""
    large_bound: int
    cofactor_bound: int


@lru_cache(maxsize=4)
def number(n: int, parameters: Parameters) -> Number:
    """Prepare the tables of a number."""
    kn = n * parameters.multiplier
    primes = factor_base.first(kn, parameters.base)
    values = np.array([1, *primes[1:]], dtype=np.uint64)
    roots = [0, 0, *(polynomials.square_root(kn % prime, prime) for prime in primes[2:])]
    odd = values | np.uint64(1)
    inverses = odd.copy()
    for _ in range(6):  # Newton: each step doubles the good bits, 3 at first
        inverses *= np.uint64(2) - odd * inverses
    length = parameters.blocks * BLOCK
    biggest = max(parameters.large_bound, parameters.cofactor_bound)
    bits = float(gmpy2.log2(kn) / 2 + gmpy2.log2(length / 2)) - HALF_BIT
    small = bits - float(gmpy2.log2(biggest))
    return Number(
        primes=values.astype(np.uint32),
        roots=np.array(roots, dtype=np.uint32),
        inverses=inverses.astype(np.uint32),
        limits=(np.uint64(2**32 - 1) // values).astype(np.uint32),
        wide_inverses=inverses,
        logs=np.rint(np.log2(values)).astype(np.uint8),
        kn=limbs.from_int(kn, 2 * limbs.LIMBS),
        sieved=max(FIRST_ODD, int(np.searchsorted(values, parameters.sieved_from))),
        large=int(np.searchsorted(values, BLOCK)),
        length=length,
        threshold=max(1, min(127, round(small - parameters.slack))),
        small_threshold=round(small) - 4,
        large_bound=parameters.large_bound,
        cofactor_bound=parameters.cofactor_bound,
    )


class Leading(NamedTuple):
    """What belongs to one a."""

    indices: U32
    primes: Limbs
    gammas: Limbs
    parts: npt.NDArray[np.uint64]
    """uint64[s, LIMBS]: 2·B_l."""
    inverse: Limbs
    """Of a modulo 2^(64·LIMBS)."""
    a: Limbs
    start: Limbs
    """b - aM of polynomial 0."""


def leading(family: polynomials.Family, number: Number) -> Leading:
    """Prepare the tables of an a."""
    return Leading(
        indices=np.array(family.indices, dtype=np.uint32),
        primes=np.array(family.primes, dtype=np.uint64),
        gammas=np.array(family.gammas, dtype=np.uint64),
        parts=np.array([limbs.from_int(2 * part) for part in family.parts]),
        inverse=limbs.from_int(int(gmpy2.invert(family.a, 1 << 64 * limbs.LIMBS))),
        a=limbs.from_int(family.a),
        start=limbs.from_int(family.b(0) - family.a * (number.length // 2)),
    )
