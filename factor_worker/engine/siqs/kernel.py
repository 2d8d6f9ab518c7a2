"""All polynomials of an a, from roots to relations."""

import numpy as np
from numba import njit

from factor_worker.engine.siqs import division, initialisation, limbs, sieving
from factor_worker.engine.siqs.division import Found
from factor_worker.engine.siqs.tables import Leading, Number, Workspace


@njit(cache=True, nogil=True)
def sieve_family(number: Number, leading: Leading, work: Workspace, found: Found) -> bool:
    """Sieve all polynomials of an a. Return False if `found` has no room for what they yield."""
    found.counts[:] = 0
    initialisation.roots(number, leading, work.first, work.second, work.steps)
    start = leading.start.copy()
    place = len(leading.gammas) - 1
    polynomials = 1 << place
    minus = False
    for polynomial in range(polynomials):
        if polynomial:
            changed = np.uint64(polynomial)
            place = np.int64(limbs.trailing_zeros(changed))
            gray = changed ^ (changed >> np.uint64(1))
            minus = bool((gray >> np.uint64(place)) & np.uint64(1))
            if minus:
                limbs.subtract(start, leading.parts[place])
            else:
                limbs.add(start, leading.parts[place])
        candidates = sieving.polynomial(number, leading, work, work.steps[place], minus)
        if not division.relations(
            number, leading, start, np.uint32(polynomial), candidates, work, found
        ):
            return False
    return True
