"""The factor base: -1, 2 and the odd primes modulo which kn is a square."""

import math
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from factor_worker.engine.siqs.polynomials.parameters import Parameters
from factor_worker.engine.siqs.words.arithmetic import ONE, ZERO, Limbs, Word, leading_zeros, limbs
from factor_worker.engine.siqs.words.arrays import Ids

MINUS_ONE: Final = 0
"""Index of -1."""
TWO: Final = 1
"""Index of 2."""
FIRST_ODD: Final = 2
"""Index of the first odd prime."""


class FactorBase(NamedTuple):
    """The base as parallel arrays; entries 0 and 1 stand for -1 and 2 and are not used in sieving."""

    primes: Ids
    roots: Ids
    """A square root of kn modulo each prime."""
    logs: npt.NDArray[np.uint8]
    """The binary logarithm of each prime, rounded."""
    inverses: Limbs
    """The inverse of each odd prime modulo 2^64."""
    inverses32: Ids
    """The same modulo 2^32."""
    quotients32: Ids
    """⌊(2^32 - 1)/p⌋."""


def primes(n: int, parameters: Parameters) -> list[int]:
    """Return the factor base: entry 0 is -1, entry 1 is 2, then odd primes in ascending order."""
    base: list[int] = table(n, parameters).primes.tolist()
    return [-1, *base[1:]]


@lru_cache(maxsize=4)
def table(n: int, parameters: Parameters) -> FactorBase:
    """Return the arrays that belong to `primes`."""
    return of(n * parameters.multiplier, parameters.size)


def of(number: int, size: int) -> FactorBase:
    """Return the factor base of that size for kn."""
    words = limbs(number, -(-number.bit_length() // 64))
    # twice as many primes have the square root or have not; a fifth more, for those that lack luck
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
def _logarithms(base: Ids) -> npt.NDArray[np.uint8]:
    """Return log2 p, rounded: half of log2(2p²) rounded down, the same on every machine."""
    logs = np.zeros(len(base), np.uint8)
    for index, p in enumerate(base):
        square = np.uint64(2) * np.uint64(p) * np.uint64(p)
        logs[index] = (63 - np.int64(leading_zeros(square))) // 2
    return logs


@lru_cache(maxsize=32)
def _primes_below(limit: int) -> Ids:
    """Return the odd primes below a limit."""
    is_prime = np.ones(limit, dtype=np.bool_)
    is_prime[:2] = False
    is_prime[4::2] = False
    for p in range(3, math.isqrt(limit) + 1, 2):
        if is_prime[p]:
            is_prime[p * p :: p] = False
    return np.flatnonzero(is_prime)[1:].astype(np.uint32)


@njit(cache=True)
def _quadratic_residues(number: Limbs, candidates: Ids) -> tuple[Ids, Ids]:
    """Return the candidates modulo which a number is a square or 0, and a root for each."""
    found = np.empty(len(candidates), np.uint32)
    roots = np.empty(len(candidates), np.uint32)
    count = 0
    half = np.uint64(32)
    for candidate in candidates:
        p = np.uint64(candidate)
        rest = ZERO
        for limb in range(len(number) - 1, -1, -1):
            word = number[limb]
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
    """Return a square root modulo an odd prime (Tonelli and Shanks)."""
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
    """Return inverses modulo 2^64: Newton's iteration doubles the bits that are right."""
    inverses = np.zeros(len(base), np.uint64)
    for index in range(FIRST_ODD, len(base)):
        p = np.uint64(base[index])
        inverse = p  # right modulo 8
        for _ in range(5):
            inverse *= np.uint64(2) - p * inverse
        inverses[index] = inverse
    return inverses
