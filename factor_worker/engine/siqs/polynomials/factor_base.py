"""The factor base: -1, 2 and the odd primes modulo which kn is a square.

An odd prime p can divide a value of a polynomial only if kn is a square modulo p (or p divides kn).
"""

import math
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numba import njit

from factor_worker.engine.siqs.polynomials.parameters import Parameters
from factor_worker.engine.siqs.words.arithmetic import (
    ONE,
    ZERO,
    Word,
    leading_zeros,
    to_limbs,
    word_inverse,
)
from factor_worker.engine.siqs.words.arrays import Bytes, Ids, Limbs

MINUS_ONE: Final = 0
"""Index of -1."""
TWO: Final = 1
"""Index of 2."""
FIRST_ODD: Final = 2
"""Index of the first odd prime."""


class FactorBase(NamedTuple):
    """The base as parallel arrays of `size` entries; 0 and 1 stand for -1 and 2 and are never sieved."""

    primes: Ids
    """uint32[size]: 1 and 2, then the odd primes in ascending order."""
    roots: Ids
    """uint32[size]: a square root of kn modulo each prime."""
    logs: Bytes
    """uint8[size]: the binary logarithm of each prime, rounded to the nearest integer."""
    inverses: Limbs
    """uint64[size]: the inverse of each odd prime modulo 2^64."""
    inverses32: Ids
    """uint32[size]: the same modulo 2^32."""
    quotients32: Ids
    """uint32[size]: ⌊(2^32 - 1)/p⌋. A word w is a multiple of p if w·p⁻¹ mod 2^32 is at most this."""


def primes(n: int, parameters: Parameters) -> list[int]:
    """Return the factor base as integers: -1, 2, then the odd primes in ascending order."""
    base: list[int] = of(n, parameters).primes.tolist()
    return [-1, *base[1:]]


@lru_cache(maxsize=4)
def of(n: int, parameters: Parameters) -> FactorBase:
    """Return the factor base of n under these parameters, as arrays."""
    return build(n * parameters.multiplier, parameters.size)


def build(kn: int, size: int) -> FactorBase:
    """Return the factor base of `size` entries for kn."""
    words = to_limbs(kn, -(-kn.bit_length() // 64))
    # About half of all primes qualify: look among twice as many, and a fifth more to be safe.
    limit = max(600, int(2.4 * size * math.log(2.4 * size)))
    while True:
        found, roots = _quadratic_residues(words, _primes_below(limit))
        if len(found) >= size - FIRST_ODD:
            break
        limit += limit // 4
    count = size - FIRST_ODD
    base = np.concatenate((np.array([1, 2], dtype=np.uint32), found[:count]))
    square_roots = np.concatenate((np.zeros(2, dtype=np.uint32), roots[:count]))
    inverses = _word_inverses(base)
    return FactorBase(
        primes=base,
        roots=square_roots,
        logs=_logarithms(base),
        inverses=inverses,
        inverses32=inverses.astype(np.uint32),
        quotients32=np.uint32(0xFFFFFFFF) // base,
    )


@njit(cache=True)
def _logarithms(base: Ids) -> Bytes:
    """Return log2 p rounded to the nearest integer, without floats: every machine gets the same."""
    logs = np.zeros(len(base), np.uint8)
    for index, p in enumerate(base):
        square = np.uint64(2) * np.uint64(p) * np.uint64(p)
        logs[index] = (63 - np.int64(leading_zeros(square))) // 2
    return logs


@lru_cache(maxsize=32)
def _primes_below(limit: int) -> Ids:
    """Return the odd primes below a limit, by the sieve of Eratosthenes: uint32."""
    is_prime = np.ones(limit, dtype=np.bool_)
    is_prime[:2] = False
    is_prime[4::2] = False
    for p in range(3, math.isqrt(limit) + 1, 2):
        if is_prime[p]:
            is_prime[p * p :: p] = False
    return np.flatnonzero(is_prime)[1:].astype(np.uint32)


@njit(cache=True)
def _quadratic_residues(kn: Limbs, candidates: Ids) -> tuple[Ids, Ids]:
    """Return those candidates modulo which kn is a square or 0, and a square root for each."""
    found = np.empty(len(candidates), np.uint32)
    roots = np.empty(len(candidates), np.uint32)
    count = 0
    half = np.uint64(32)
    for candidate in candidates:
        p = np.uint64(candidate)
        rest = ZERO
        for limb in range(len(kn) - 1, -1, -1):
            word = kn[limb]
            rest = ((rest << half) | (word >> half)) % p
            rest = ((rest << half) | (word & np.uint64(0xFFFFFFFF))) % p
        if rest != ZERO and _power(rest, p >> ONE, p) != ONE:
            continue
        found[count] = p
        roots[count] = _square_root(rest, p)
        count += 1
    return found[:count], roots[:count]


@njit(cache=True)
def _power(base: Word, exponent: Word, p: Word) -> Word:
    """Return a power modulo p < 2^32."""
    result = ONE
    while exponent:
        if exponent & ONE:
            result = result * base % p
        base = base * base % p
        exponent >>= ONE
    return result


@njit(cache=True)
def _square_root(square: Word, p: Word) -> Word:
    """Return a square root modulo an odd prime, by the algorithm of Tonelli and Shanks."""
    if square == ZERO:
        return ZERO
    odd, twos = p - ONE, 0
    while odd & ONE == ZERO:
        odd >>= ONE
        twos += 1
    nonresidue = np.uint64(2)
    while _power(nonresidue, p >> ONE, p) == ONE:
        nonresidue += ONE
    generator = _power(nonresidue, odd, p)
    root = _power(square, (odd + ONE) >> ONE, p)
    rest = _power(square, odd, p)
    while rest != ONE:
        order, power = 0, rest
        while power != ONE:
            power = power * power % p
            order += 1
        step = generator
        for _ in range(twos - order - 1):
            step = step * step % p
        twos = order
        generator = step * step % p
        root = root * step % p
        rest = rest * generator % p
    return root


@njit(cache=True)
def _word_inverses(base: Ids) -> Limbs:
    """Return the inverses of the odd primes modulo 2^64."""
    inverses = np.zeros(len(base), np.uint64)
    for index in range(FIRST_ODD, len(base)):
        inverses[index] = word_inverse(np.uint64(base[index]))
    return inverses
