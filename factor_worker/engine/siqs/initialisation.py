"""Roots of the polynomials modulo the primes of the factor base, without large integers.

Polynomial x ↦ (a(x - M) + b)² - kN has the roots M + (±t - b)/a modulo p, t² ≡ kN. As B_l is
γ_l·a/q_l, B_l/a ≡ γ_l/q_l: one modular inverse for each p gives the inverses of all q_l.
"""

import numpy as np
from numba import njit

from factor_worker.engine.siqs.tables import U32, Leading, Number

MOST_FACTORS = 32


@njit(cache=True)
def _inverse(value: np.uint64, prime: np.uint64) -> np.uint64:
    """Return the inverse modulo a prime, by Euclid."""
    low, high = np.int64(value), np.int64(prime)
    x, y = np.int64(1), np.int64(0)
    while low > 1:
        ratio = high // low
        low, high = high - ratio * low, low
        x, y = y - ratio * x, x
    return np.uint64(x + np.int64(prime) if x < 0 else x)


@njit(cache=True)
def roots(number: Number, leading: Leading, first: U32, second: U32, steps: U32) -> None:
    """Put the roots of polynomial 0 into `first` and `second`, and into steps[l] 2·B_l/a.

    Primes that divide a have no such roots; theirs are left undefined.
    """
    size = len(leading.primes)
    half = np.uint64(number.length // 2)
    before = np.empty(MOST_FACTORS + 1, dtype=np.uint64)
    for i in range(2, len(number.primes)):
        prime = np.uint64(number.primes[i])
        before[0] = np.uint64(1)
        for place in range(size):
            before[place + 1] = before[place] * (leading.primes[place] % prime) % prime
        if before[size] == np.uint64(0):
            continue
        inverse = _inverse(before[size], prime)
        after = inverse
        centre = np.uint64(0)
        for back in range(size):
            place = size - 1 - back
            part = leading.gammas[place] % prime * (after * before[place] % prime) % prime
            after = after * (leading.primes[place] % prime) % prime
            centre += part
            steps[place, i] = np.uint32(part + part if part + part < prime else part + part - prime)
        middle = (half + np.uint64(size) * prime - centre) % prime
        apart = np.uint64(number.roots[i]) * inverse % prime
        one, other = middle + apart, middle + prime - apart
        first[i] = np.uint32(one if one < prime else one - prime)
        second[i] = np.uint32(other if other < prime else other - prime)


@njit(cache=True)
def advance(number: Number, step: U32, roots_: U32, forward: bool) -> None:
    """Move roots to the next polynomial."""
    primes = number.primes
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
