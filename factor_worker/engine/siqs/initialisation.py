"""Initialisation: where the first polynomial of an a has its hits, for every prime, without big integers.

The roots modulo p are x = (±√kn - b)/2a. With a = ∏ q_l and B_l = gamma_l·a/q_l, all that is
needed are the q_l⁻¹ mod p: a⁻¹ is their product, and δ_l = B_l/a = gamma_l·q_l⁻¹ is what roots move by
when the sign of B_l changes. q⁻¹ mod p follows from p⁻¹ mod q, which is looked up.
"""

import numpy as np
from numba import njit

from factor_worker.engine.siqs.factor_base import FIRST_ODD, Ids
from factor_worker.engine.siqs.tables import Floats, Table, Work


@njit(cache=True)
def negative_inverses(q: int) -> Floats:
    """Return float64[q]: -r⁻¹ mod q for every residue r of a prime q, and 0 for 0."""
    inverses = np.zeros(q, np.int64)
    inverses[1] = 1
    for r in range(2, q):
        inverses[r] = (q - q // r) * inverses[q % r] % q
    return np.where(inverses > 0, q - inverses, 0).astype(np.float64)


@njit(cache=True)
def _modulo(number: float, p: float, reciprocal: float) -> float:
    """Return a whole number below 2^52 modulo p; exact: the quotient is wrong by one at most."""
    rest = number - np.floor(number * reciprocal) * p
    rest += p if rest < 0.0 else 0.0
    return rest - (p if rest >= p else 0.0)


@njit(cache=True)
def add_factor(
    tables: Table, q: int, inverses: Floats, gamma: int, delta: Ids, inverse_a: Ids, total: Ids
) -> None:
    """Take a prime factor q of a into account.

    `delta` becomes gamma·q⁻¹ mod p, the product in `inverse_a` gets the factor q⁻¹, the sum in
    `total` the term δ. What is written for p = q means nothing.
    """
    modulus, reciprocal_q, factor = float(q), 1.0 / q, float(gamma)
    for index in range(FIRST_ODD, len(delta)):
        p, reciprocal = float(tables.primes[index]), tables.reciprocals[index]
        cofactor = inverses[np.int64(_modulo(p, modulus, reciprocal_q))]
        # q divides p·cofactor + 1, so the product is within rounding of a whole number
        inverse = np.floor((p * cofactor + 1.0) * reciprocal_q + 0.5)
        move = _modulo(inverse * factor, p, reciprocal)
        delta[index] = np.uint32(move)
        inverse_a[index] = np.uint32(_modulo(float(inverse_a[index]) * inverse, p, reciprocal))
        together = float(total[index]) + move
        total[index] = np.uint32(together - (p if together >= p else 0.0))


@njit(cache=True)
def start(tables: Table, work: Work, inverse_a: Ids, total: Ids, shifted: bool) -> None:  # noqa: FBT001 kernels have no keywords
    """Write the roots of the polynomial with b = ∑ B_l, plus a if `shifted`."""
    for index in range(FIRST_ODD, len(inverse_a)):
        p, reciprocal = float(tables.primes[index]), tables.reciprocals[index]
        root = _modulo(float(inverse_a[index]) * float(tables.roots[index]), p, reciprocal)
        middle = float(total[index]) + (1.0 if shifted else 0.0)
        reach = float(tables.reach[index])
        for sign in range(2):
            twice = (root if sign == 0 else p - root) - middle
            twice += p if twice < 0.0 else 0.0
            half = 0.5 * twice
            half += 0.5 * p if np.floor(half) != half else 0.0
            position = _modulo(half + reach, p, reciprocal)
            if sign == 0:
                work.first[index] = np.uint32(position)
            else:
                work.second[index] = np.uint32(position)
