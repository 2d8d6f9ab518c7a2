"""The kernel: sieves the polynomials of one a, one after the other in the order of the Gray code."""

import numpy as np
from numba import njit

from factor_worker.engine.siqs.sieve import candidates, interval
from factor_worker.engine.siqs.sieve.tables import Found, Table, Work
from factor_worker.engine.siqs.words.arithmetic import (
    ONE,
    add_product,
    divide,
    multiply,
    negate,
    subtract_product,
    trailing_zeros,
)


@njit(cache=True, nogil=True)
def run(tables: Table, work: Work, found: Found, number: int, stop: int, again: bool) -> int:  # noqa: FBT001, PLR0913, PLR0917 kernels have no keywords
    """Sieve the polynomials from `number` to `stop` - 1; return the first one that is not finished.

    If there is no room for a polynomial's relations, all that it had are taken back and it is
    returned: call again with more room, `number` set to it and `again`.
    """
    while number < stop:
        if not again:
            sieve(tables, work, number)
        again = False
        before = found.counts.copy()
        if not candidates.examine(tables, work, found, number):
            found.counts[:] = before
            return number
        number += 1
    return stop


@njit(cache=True)
def sieve(tables: Table, work: Work, number: int) -> None:
    """Go on from the polynomial before: renew b, c and the roots, and sieve.

    Numbers g = number ^ (number >> 1) of successive polynomials differ in one bit l, and B_l counts
    negative where it is set. For the first one nothing changes, which is the last step: no
    polynomial has B_s negative.
    """
    place, becomes_negative = np.int64(len(work.deltas) - 1), False
    if number:
        place = np.int64(trailing_zeros(np.uint64(number)))
        becomes_negative = (number ^ (number >> 1)) >> place & 1 == 1
        _renew_coefficients(tables, work, place, becomes_negative)
    interval.sieve(tables, work, work.deltas[place], becomes_negative)


@njit(cache=True)
def _renew_coefficients(tables: Table, work: Work, place: np.int64, becomes_negative: bool) -> None:  # noqa: FBT001
    """Set b to b ∓ 2B and c to c + B(B ∓ b)/a, where B/a = gamma/q."""
    part, change = work.parts[place], work.value
    index = work.factors_of_a[place]
    change[:] = work.b
    if becomes_negative:
        negate(change)
    add_product(change, part, ONE)
    multiply(change, work.gammas[place])
    divide(work.quotient, change, np.uint64(tables.primes[index]), tables.inverses[index])
    add_product(work.c, work.quotient, ONE)
    if becomes_negative:
        subtract_product(work.b, part, np.uint64(2))
    else:
        add_product(work.b, part, np.uint64(2))
