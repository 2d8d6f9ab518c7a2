"""Roots of the polynomials modulo the primes of the factor base, without large integers.

Polynomial x ↦ (a(x - M) + b)² - kN has the roots M + (±t - b)/a modulo p, t² ≡ kN. As B_l is
γ_l·a/q_l, B_l/a is γ_l/q_l modulo p: the inverses of the q_l modulo every p are all it takes, and
they serve again for every a that has q_l. Products are Montgomery's (1985), to base 2^32.
"""

import numpy as np
from numba import njit

from factor_worker.engine.siqs.tables import U32, Leading, Number

NOWHERE = np.uint32(0xFFFFFFFF)
"""Root of a prime that divides a, which has none."""
NOT_INSIDE = np.uint32(0x7FFFFFFE)
"""Root of what fills up the last vector: no position, and it stays what it is."""


@njit(cache=True)
def inverses_of(number: Number, q: np.uint64, out: U32) -> None:
    """Put 2^32/q modulo every prime of the base into `out`; 0 where there is no such number."""
    out[:] = np.uint32(0)
    for i in range(2, number.size):
        prime = np.int64(number.primes[i])
        low, high = np.int64(q) % prime, prime
        x, y = np.int64(1), np.int64(0)
        if low == 0:
            continue
        while low > 1:
            ratio = high // low
            low, high = high - ratio * low, low
            x, y = y - ratio * x, x
        out[i] = np.uint32((np.uint64(x + prime if x < 0 else x) << np.uint64(32)) % np.uint64(prime))


@njit(cache=True, inline="always")
def _product(left: np.uint32, right: np.uint32, prime: np.uint32, inverse: np.uint32) -> np.uint32:
    """Return left·right/2^32 modulo a prime."""
    wide = np.uint64(left) * np.uint64(right)
    away = np.uint64(np.uint32(np.uint32(wide) * inverse)) * np.uint64(prime)
    result = np.uint32(wide >> np.uint64(32)) - np.uint32(away >> np.uint64(32))
    result = np.uint32(result)
    wrapped = np.uint32(result + prime)
    return wrapped if wrapped < result else result


@njit(cache=True)
def _step(
    primes: U32, inverses: U32, gamma: np.uint32, inverse_q: U32, centre: U32, product: U32, step: U32
) -> None:
    for i in range(len(primes)):
        part = _product(gamma, inverse_q[i], primes[i], inverses[i])
        product[i] = _product(product[i], inverse_q[i], primes[i], inverses[i])
        twice = np.uint32(part + part)
        wrapped = np.uint32(twice - primes[i])
        step[i] = twice if twice < wrapped else wrapped
        total = np.uint32(centre[i] + part)
        wrapped = np.uint32(total - primes[i])
        centre[i] = total if total < wrapped else wrapped


@njit(cache=True)
def _spread(
    primes: U32, inverses: U32, roots: U32, half: U32, centre: U32, product: U32, first: U32, second: U32
) -> None:
    for i in range(len(primes)):
        apart = _product(product[i], roots[i], primes[i], inverses[i])
        middle = np.uint32(half[i] - centre[i])
        wrapped = np.uint32(middle + primes[i])
        middle = middle if middle < wrapped else wrapped
        one = np.uint32(middle + apart)
        wrapped = np.uint32(one - primes[i])
        first[i] = one if one < wrapped else wrapped
        other = np.uint32(middle - apart)
        wrapped = np.uint32(other + primes[i])
        second[i] = other if other < wrapped else wrapped


@njit(cache=True)
def roots(number: Number, leading: Leading, first: U32, second: U32, steps: U32) -> None:
    """Put the roots of polynomial 0 into `first` and `second`, and 2·B_l/a into steps[l].

    The last B never changes its sign: the last of the steps are 0. Primes that divide a have no
    such roots; theirs are `NOWHERE`.
    """
    centre = np.zeros(len(number.primes), dtype=np.uint32)
    product = number.ones.copy()
    last = len(leading.gammas)
    for place in range(last):
        _step(
            number.primes,
            number.inverses,
            leading.gammas[place],
            leading.inverses[place],
            centre,
            product,
            steps[place],
        )
    steps[last - 1] = np.uint32(0)
    _spread(
        number.primes,
        number.inverses,
        number.roots,
        number.halves,
        centre,
        product,
        first,
        second,
    )
    first[number.size :] = NOT_INSIDE
    second[number.size :] = NOT_INSIDE
    steps[:, number.size :] = np.uint32(0)
    forget(leading, first, second)


@njit(cache=True)
def forget(leading: Leading, first: U32, second: U32) -> None:
    """Leave out the primes of a: modulo them the polynomials are linear."""
    for index in leading.indices:
        first[index] = NOWHERE
        second[index] = NOWHERE


@njit(cache=True)
def advance(primes: U32, step: U32, roots_: U32, forward: bool) -> None:
    """Move roots to the next polynomial."""
    if forward:
        for i in range(len(roots_)):
            moved = np.uint32(roots_[i] + step[i])
            wrapped = np.uint32(moved - primes[i])
            roots_[i] = moved if moved < wrapped else wrapped
    else:
        for i in range(len(roots_)):
            moved = np.uint32(roots_[i] - step[i])
            wrapped = np.uint32(moved + primes[i])
            roots_[i] = moved if moved < wrapped else wrapped
