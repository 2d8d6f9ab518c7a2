"""Initialisation: the roots of the first polynomial of an a modulo every prime, without big integers.

The roots modulo p are x = (±√kn - b)/2a. With a = ∏ q_l and B_l = gamma_l·a/q_l, all that is needed are
the q_l⁻¹ mod p: a⁻¹ is their product, and δ_l = B_l/a = gamma_l·q_l⁻¹ is the distance that the roots move
when the sign of B_l changes. No inversion modulo p is computed: with m = -p⁻¹ mod q, looked up in a table
of q entries, q⁻¹ mod p = (pm + 1)/q. All numbers stay below 2^53 and are held as doubles: loops over
doubles become vector instructions.
"""

import numpy as np
from numba import njit

from factor_worker.engine.siqs.sieve.tables import Tables, Workspace
from factor_worker.engine.siqs.words.arrays import Floats, Ids


@njit(cache=True)
def negative_inverses(q: int) -> Floats:
    """Return -r⁻¹ mod q for every residue r modulo a prime q, and 0 for 0: float64[q]."""
    inverses = np.zeros(q, np.int64)
    inverses[1] = 1
    for r in range(2, q):
        inverses[r] = (q - q // r) * inverses[q % r] % q
    return np.where(inverses > 0, q - inverses, 0).astype(np.float64)


@njit(cache=True)
def _modulo(number: float, p: float, reciprocal: float) -> float:
    """Return a whole number below 2^52 modulo p, exactly: the rounded quotient is off by one at most."""
    rest = number - np.floor(number * reciprocal) * p
    rest += p if rest < 0.0 else 0.0
    return float(rest - (p if rest >= p else 0.0))


@njit(cache=True)
def look_up(primes: Ids, q: int, inverses: Floats, places: Ids, cofactors: Floats) -> None:
    """Set each cofactor m to `inverses[p mod q]`; `places` is scratch of the same length.

    Two loops that do one thing each become vector instructions, one loop that does both would not.
    """
    modulus, reciprocal_q = float(q), 1.0 / q
    for index in range(len(primes)):
        places[index] = np.uint32(_modulo(float(primes[index]), modulus, reciprocal_q))
    for index in range(len(primes)):
        cofactors[index] = inverses[places[index]]


@njit(cache=True)
def add_factor(
    tables: Tables,
    factor: tuple[int, int],
    cofactors: Floats,
    delta: Ids,
    sums: tuple[Floats, Floats],
) -> None:
    """Account for one prime q of a, given as `factor` = (q, gamma), modulo every prime of the base.

    Writes δ = gamma·q⁻¹ mod p to `delta`. Of the `sums` (a⁻¹ so far, ∑ δ so far) the first is multiplied
    by q⁻¹ and the second grows by δ. The entry for p = q is meaningless.
    """
    reciprocal_q, gamma = 1.0 / factor[0], float(factor[1])
    inverse_a, total = sums
    primes, reciprocals = tables.primes, tables.reciprocals
    for index in range(len(delta)):
        p, reciprocal = float(primes[index]), reciprocals[index]
        # q divides p·cofactor + 1, so the product is a whole number but for rounding.
        inverse = np.floor((p * cofactors[index] + 1.0) * reciprocal_q + 0.5)
        move = _modulo(inverse * gamma, p, reciprocal)
        delta[index] = np.uint32(move)
        inverse_a[index] = _modulo(inverse_a[index] * inverse, p, reciprocal)
        total[index] = _modulo(total[index] + move, p, reciprocal)


@njit(cache=True)
def write_roots(tables: Tables, work: Workspace, sums: tuple[Floats, Floats], shift: float) -> None:
    """Write the roots of the polynomial with b = ∑ B_l + shift·a, as positions in the interval, below p."""
    inverse_a, total = sums
    primes, roots, reciprocals = tables.primes, tables.roots, tables.reciprocals
    half_interval, first, second = tables.half_interval_mod_p, work.roots1, work.roots2
    for index in range(len(primes)):
        p, reciprocal = float(primes[index]), reciprocals[index]
        root = _modulo(inverse_a[index] * float(roots[index]), p, reciprocal)
        middle = _modulo(total[index] + shift, p, reciprocal)
        first[index] = np.uint32(
            _position(root - middle, float(half_interval[index]), p, reciprocal)
        )
        second[index] = np.uint32(
            _position(-root - middle, float(half_interval[index]), p, reciprocal)
        )


@njit(cache=True)
def _position(twice: float, half_interval: float, p: float, reciprocal: float) -> float:
    """Return twice / 2 + half_interval modulo an odd p."""
    positive = _modulo(twice + 2.0 * p, p, reciprocal)
    half = 0.5 * positive
    half += 0.5 * p if np.floor(half) != half else 0.0
    return _modulo(half + half_interval, p, reciprocal)
