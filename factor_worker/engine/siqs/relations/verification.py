"""Verification: relations from any source become relations that hold, or an error that says why not.

Nothing is taken from the sieve but the choice of polynomials. X is computed from the coordinates, so a
relation cannot come from outside its unit, and X² - kn = ± ∏ primes · large primes is checked over the
integers by multiplying the right-hand side out.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numba import njit

from factor_worker.engine.siqs.polynomials import factor_base, polynomials
from factor_worker.engine.siqs.polynomials.factor_base import MINUS_ONE, TWO
from factor_worker.engine.siqs.polynomials.parameters import BLOCK, Parameters
from factor_worker.engine.siqs.polynomials.polynomials import Family
from factor_worker.engine.siqs.relations import codec
from factor_worker.engine.siqs.relations.codec import Coordinates
from factor_worker.engine.siqs.words import cofactor
from factor_worker.engine.siqs.words.arithmetic import (
    ONE,
    ZERO,
    Word,
    add_product,
    is_negative,
    multiply,
    negate,
    subtract_product,
    to_limbs,
)
from factor_worker.engine.siqs.words.arrays import Ids, Index, Limbs

REASONS: Final = (
    "",
    "a polynomial or a position is outside its range",
    "a factor is outside the factor base",
    "a large prime is outside its range",
    "a large prime is not prime",
    "an identity does not hold",
)
_FINE, _OUTSIDE, _NO_FACTOR, _NO_LARGE, _COMPOSITE, _WRONG = range(len(REASONS))


class BadBatch(ValueError):
    """A batch cannot be read, or holds something false; the message says what."""


class Relations(NamedTuple):
    """Relations x² - kn = ∏ base[factors] · ∏ large_primes, true over the integers."""

    x: Limbs
    """uint64[m, `x_words`]: |x|."""
    offsets: Index
    """int64[m + 1]: the factors of relation i are `factors[offsets[i]:offsets[i + 1]]`."""
    factors: Ids
    """uint32: indices into the factor base with multiplicity; index 0 is -1."""
    large_primes: Limbs
    """uint64[m, 2]: large primes in ascending order, 1 for none."""


def verify(n: int, parameters: Parameters, first: int, count: int, data: bytes) -> Relations:
    """Return the relations of a batch for the a-indices `first` to `first + count` - 1.

    Raises:
        BadBatch: it cannot be read, has relations of another range, or has one that does not hold.
    """
    try:
        found = codec.decode(data)
    except codec.Malformed as error:
        raise BadBatch(str(error)) from error
    if len(found.a_indices) and not (
        first <= int(found.a_indices.min()) and int(found.a_indices.max()) < first + count
    ):
        raise BadBatch("an a-index is outside the unit")
    if len(found.a_indices) and int(found.a_indices.max()) >= polynomials.a_count(n, parameters):
        raise BadBatch("there is no such a-index")
    return verify_relations(n, parameters, found)


def x_words(kn: int) -> int:
    """Return how many words an x has: enough for x², kn and a sign."""
    return kn.bit_length() // 64 + 2


def verify_relations(n: int, parameters: Parameters, found: Coordinates) -> Relations:
    """Compute every x and every complete factor list, and check every relation.

    Raises:
        BadBatch: a relation does not hold; the message is one of `REASONS`.
    """
    base = factor_base.of(n, parameters)
    kn = n * parameters.multiplier
    words = x_words(kn)
    offsets = np.zeros(len(found.polynomials) + 1, dtype=np.int64)
    np.cumsum(found.factor_counts + (parameters.factors + 2), out=offsets[1:])
    result = _Result(
        np.zeros((len(found.polynomials), words), dtype=np.uint64),
        offsets,
        np.zeros(int(offsets[-1]), dtype=np.uint32),
    )
    expected = _Expected(
        to_limbs(kn, words),
        base.primes,
        np.array(
            [parameters.blocks * BLOCK, int(base.primes[-1]), parameters.large_bound],
            dtype=np.uint64,
        ),
    )
    for family, low, high in _families(n, parameters, found):
        code = _check(
            _of_one_a(found, low, high),
            _family_arrays(family, parameters, words),
            expected,
            result._replace(x=result.x[low:high], offsets=offsets[low : high + 1]),
        )
        if code != _FINE:
            raise BadBatch(REASONS[code])
    return Relations(result.x, offsets, result.factors, found.large_primes)


class _Result(NamedTuple):
    """Where `_check` writes what it computes; columns as in `Relations`."""

    x: Limbs
    offsets: Index
    factors: Ids


class _Expected(NamedTuple):
    """What all relations are checked against."""

    kn: Limbs
    primes: Ids
    bounds: Limbs
    """uint64[3]: positions are below the first; large primes are above the second, at most the third."""


class _FamilyArrays(NamedTuple):
    """One a with its polynomials as arrays, see `Family`."""

    a: Limbs
    b: Limbs
    b_terms: Limbs
    a_factors: Ids
    half_interval: Limbs
    """uint64[1]: M."""


class _OfOneA(NamedTuple):
    """The relations of one a, columns as in `Coordinates`."""

    polynomials: Ids
    positions: Ids
    factor_counts: Index
    start: int
    """Where the factors of the first relation begin in `factors`."""
    factors: Ids
    """Those of all relations of the batch."""
    large_primes: Limbs


def _families(
    n: int, parameters: Parameters, found: Coordinates
) -> Iterator[tuple[Family, int, int]]:
    """Yield the polynomials of each a with the range of its relations."""
    low = 0
    for a_index, count in zip(
        found.a_indices.tolist(), found.relation_counts.tolist(), strict=True
    ):
        yield polynomials.family(n, parameters, a_index), low, low + count
        low += count


def _of_one_a(found: Coordinates, low: int, high: int) -> _OfOneA:
    start = int(found.factor_counts[:low].sum())
    return _OfOneA(
        found.polynomials[low:high],
        found.positions[low:high],
        found.factor_counts[low:high],
        start,
        found.factors,
        found.large_primes[low:high],
    )


def _family_arrays(family: Family, parameters: Parameters, words: int) -> _FamilyArrays:
    return _FamilyArrays(
        to_limbs(family.a, words),
        to_limbs(family.b, words),
        np.stack([to_limbs(term, words) for term in family.b_terms]),
        np.array(family.a_factors, dtype=np.uint32),
        np.array([parameters.half_interval], dtype=np.uint64),
    )


@njit(cache=True)
def _check(part: _OfOneA, family: _FamilyArrays, expected: _Expected, result: _Result) -> int:
    """Fill in x and the factor lists of one a's relations, and check them.

    Returns an index into `REASONS`: `_FINE`, or what is wrong with the first bad relation.
    """
    start = part.start
    for index in range(len(part.polynomials)):
        polynomial, position = np.uint64(part.polynomials[index]), np.uint64(part.positions[index])
        if (
            polynomial >> np.uint64(len(family.b_terms) - 1) != ZERO
            or position >= expected.bounds[0]
        ):
            return _OUTSIDE
        _fill_x(result.x[index], family, polynomial, position)
        factors = result.factors[result.offsets[index] : result.offsets[index + 1]]
        length = part.factor_counts[index]
        factors[:length] = part.factors[start : start + length]
        start += length
        factors[length : length + 2] = TWO
        factors[length + 2 :] = family.a_factors
        if factors.max() >= len(expected.primes):
            return _NO_FACTOR
        code = _check_large_primes(part.large_primes[index], expected.bounds)
        if code != _FINE:
            return code
        if not _holds(result.x[index], factors, part.large_primes[index], expected):
            return _WRONG
    return _FINE


@njit(cache=True)
def _fill_x(x: Limbs, family: _FamilyArrays, polynomial: Word, position: Word) -> None:
    """Set x to |2a(position - M) + b|."""
    x[:] = family.b
    gray = polynomial ^ (polynomial >> ONE)
    for term in range(len(family.b_terms)):
        if gray >> np.uint64(term) & ONE:
            subtract_product(x, family.b_terms[term], np.uint64(2))
    add_product(x, family.a, np.uint64(2) * position)
    subtract_product(x, family.a, np.uint64(2) * family.half_interval[0])
    if is_negative(x):
        negate(x)


@njit(cache=True)
def _check_large_primes(large_primes: Limbs, bounds: Limbs) -> int:
    if large_primes[0] > large_primes[1]:
        return _NO_LARGE
    for prime in large_primes:
        if prime == ONE:
            continue
        if prime <= bounds[1] or prime > bounds[2]:
            return _NO_LARGE
        if prime & ONE == ZERO or cofactor.is_composite(prime):
            return _COMPOSITE
    return _FINE


@njit(cache=True)
def _holds(x: Limbs, factors: Ids, large_primes: Limbs, expected: _Expected) -> bool:
    """Return whether x² - kn equals the product; if either overflows its words, it does not."""
    left = np.zeros(len(x), np.uint64)
    right = np.zeros(len(x), np.uint64)
    if not (_square(left, x) and _multiply_all(right, factors, large_primes, expected.primes)):
        return False
    subtract_product(left, expected.kn, ONE)
    difference = ZERO
    for limb in range(len(x)):
        difference |= left[limb] ^ right[limb]
    return not difference


@njit(cache=True)
def _square(square: Limbs, x: Limbs) -> bool:
    """Add x² to `square`, which is 0 before; return False if it overflows."""
    words = len(x)
    for limb in range(words):
        if x[limb] != ZERO:
            if 2 * limb >= words:
                return False
            add_product(square[limb:], x[: words - limb], x[limb])
    return not is_negative(square)


@njit(cache=True)
def _multiply_all(result: Limbs, factors: Ids, large_primes: Limbs, primes: Ids) -> bool:
    """Set the result, which is 0 before, to the signed product of all factors; return False on overflow."""
    result[0] = ONE
    minus = False
    for factor in factors:
        if factor == MINUS_ONE:
            minus = not minus
        elif multiply(result, np.uint64(primes[factor])):
            return False
    for prime in large_primes:
        if multiply(result, prime):
            return False
    if is_negative(result):
        return False
    if minus:
        negate(result)
    return True
