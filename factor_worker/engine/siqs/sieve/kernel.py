"""The kernel: sieves the polynomials of one a, one after the other in the order of the Gray code.

Theory of operation
-------------------
An a with s primes has 2^(s-1) polynomials, b = ±B_1 ± … ± B_(s-1) + B_s. Polynomial j takes its signs from
the Gray code g = j ^ (j >> 1): B_l counts negative where bit l of g is set. Going from j - 1 to j changes
one bit of g, the lowest set bit of j, hence one sign. So b, c and every root are updated by one addition
each instead of being computed anew: b changes by 2·B_l, the roots modulo p by δ_l = B_l/a mod p
(`Workspace.deltas`, computed once per a by `initialisation`). That is why polynomials must be taken in
order, and why a unit is a range of a's and never a part of one.

For each polynomial `interval.sieve` updates the roots, adds logarithms and lists candidates;
`candidates.examine` trial divides them and appends relations to a buffer of fixed size. A compiled kernel
cannot enlarge the buffer. When it is full, the relations of the current polynomial are taken back and its
number is returned. The caller (`unit.Siever`) doubles the buffer and calls again with `again` set: the
sieve bytes and the candidates of that polynomial are still there, and the roots must not move twice.

The kernel releases Python's global lock, so a unit can run beside other threads of its process.
"""

import numpy as np
from numba import njit

from factor_worker.engine.siqs.sieve import candidates, interval
from factor_worker.engine.siqs.sieve.tables import RelationBuffer, Tables, Workspace
from factor_worker.engine.siqs.words.arithmetic import (
    ONE,
    add_product,
    divide_exact,
    multiply,
    negate,
    subtract_product,
    trailing_zeros,
)


@njit(cache=True, nogil=True)
def sieve_polynomials(  # noqa: PLR0913, PLR0917 kernels have no keywords
    tables: Tables,
    work: Workspace,
    buffer: RelationBuffer,
    polynomial: int,
    stop: int,
    again: bool,  # noqa: FBT001
) -> int:
    """Sieve the polynomials from `polynomial` to `stop` - 1; return the first that is unfinished.

    That is `stop` unless the buffer is too small for a polynomial's relations. Then call again with a
    larger buffer, the returned `polynomial`, and `again`.
    """
    while polynomial < stop:
        if not again:
            sieve_next(tables, work, polynomial)
        again = False
        before = buffer.counts.copy()
        if not candidates.examine(tables, work, buffer, polynomial):
            buffer.counts[:] = before
            return polynomial
        polynomial += 1
    return stop


@njit(cache=True)
def sieve_next(tables: Tables, work: Workspace, polynomial: int) -> None:
    """Go on from the previous polynomial to this one: update b, c and the roots, and sieve.

    The first polynomial changes no sign: its step is that of B_s, which is all zeros.
    """
    term, becomes_negative = np.int64(len(work.deltas) - 1), False
    if polynomial:
        term = np.int64(trailing_zeros(np.uint64(polynomial)))
        becomes_negative = (polynomial ^ (polynomial >> 1)) >> term & 1 == 1
        _update_coefficients(tables, work, term, becomes_negative)
    interval.sieve(tables, work, work.deltas[term], becomes_negative)


@njit(cache=True)
def _update_coefficients(
    tables: Tables,
    work: Workspace,
    term: np.int64,
    becomes_negative: bool,  # noqa: FBT001
) -> None:
    """Set b to b ∓ 2B and c to c + B(B ∓ b)/a for B = B_l; the division is by q_l, as B/a = gamma/q."""
    b_term, change = work.b_terms[term], work.value
    index = work.a_factors[term]
    change[:] = work.b
    if becomes_negative:
        negate(change)
    add_product(change, b_term, ONE)
    multiply(change, work.gammas[term])
    divide_exact(work.quotient, change, np.uint64(tables.primes[index]), tables.inverses[index])
    add_product(work.c, work.quotient, ONE)
    if becomes_negative:
        subtract_product(work.b, b_term, np.uint64(2))
    else:
        add_product(work.b, b_term, np.uint64(2))
