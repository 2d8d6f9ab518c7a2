"""The identity that makes a relation, x² - kN = ± a·∏ primes · large primes, checked exactly."""

from typing import Final, NamedTuple

import numpy as np
from numba import njit

from factor_worker.engine.siqs import codec, limbs
from factor_worker.engine.siqs.limbs import LIMBS, Limbs
from factor_worker.engine.siqs.tables import U32

NONE: Final = -1
"""Index of the first false relation if there is none."""


class Families(NamedTuple):
    """The polynomials of several a, stacked."""

    indices: U32
    """uint32[f, s]: primes of a in the factor base."""
    parts: Limbs
    """uint64[f, s, LIMBS]: 2·B_l."""
    a: Limbs
    start: Limbs
    """b - aM of polynomial 0."""


@njit(cache=True)
def check(
    kn: Limbs,
    primes: U32,
    families: Families,
    batch: codec.Columns,
    x: Limbs,
    offsets: U32,
    factors: U32,
) -> int:
    """Check a batch, relation by relation; return the index of the first false one, or `NONE`.

    Puts |x| into uint64[m, LIMBS] and all factors, with those of a, behind one another.
    """
    square = np.empty(2 * LIMBS, dtype=np.uint64)
    right = np.empty(2 * LIMBS, dtype=np.uint64)
    own = families.indices.shape[1]
    begin = placed = 0
    for row in range(len(batch.positions)):
        family = batch.families[row]
        end = begin + np.int64(batch.lengths[row])
        listed = batch.factors[begin:end]
        begin = end
        _x(families, family, batch.polynomials[row], np.uint64(batch.positions[row]), x[row])
        limbs.multiply(x[row], x[row], square)
        limbs.subtract(square, kn)
        negative = bool(square[2 * LIMBS - 1] >> np.uint64(63))
        if negative:
            limbs.negate(square)
        right[:] = np.uint64(0)
        right[:LIMBS] = families.a[family]
        product = np.uint64(batch.large[row, 0])
        fits = limbs.scale(right, product)
        fits &= limbs.scale(right, np.uint64(batch.large[row, 1]))
        signs = 0
        product = np.uint64(1)
        for index in listed:
            factors[placed] = index
            placed += 1
            if index == np.uint32(0):
                signs += 1
            product *= np.uint64(primes[index])
            if product >> np.uint64(32):
                fits &= limbs.scale(right, product)
                product = np.uint64(1)
        fits &= limbs.scale(right, product)
        if not fits or negative != (signs == 1) or signs > 1 or (square != right).any():
            return row
        factors[placed : placed + own] = families.indices[family]
        placed += own
        offsets[row + 1] = placed
    return NONE


@njit(cache=True)
def _x(families: Families, family: int, polynomial: np.uint32, position: np.uint64, x: Limbs) -> None:
    """Put |a·position + start| into `x`."""
    x[:] = families.start[family]
    limbs.add_product(x, families.a[family], position)
    gray = polynomial ^ (polynomial >> np.uint32(1))
    for place in range(families.indices.shape[1]):
        if (gray >> np.uint32(place)) & np.uint32(1):
            limbs.subtract(x, families.parts[family, place])
    if x[LIMBS - 1] >> np.uint64(63):
        limbs.negate(x)
