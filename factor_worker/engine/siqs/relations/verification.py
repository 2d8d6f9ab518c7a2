"""Verification: relations from anybody become relations that hold, or a reason why not.

Nothing is shared with the sieve but the choice of polynomials: X is worked out from the coordinates, and
X² - kn = ± ∏ primes · large primes is checked in whole numbers.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from factor_worker.engine.siqs.polynomials import factor_base, polynomials
from factor_worker.engine.siqs.polynomials.factor_base import MINUS_ONE, TWO
from factor_worker.engine.siqs.polynomials.parameters import BLOCK, Parameters
from factor_worker.engine.siqs.polynomials.polynomials import Polynomials
from factor_worker.engine.siqs.relations import codec
from factor_worker.engine.siqs.relations.codec import Coordinates
from factor_worker.engine.siqs.words import cofactor
from factor_worker.engine.siqs.words.arithmetic import (
    ONE,
    ZERO,
    Limbs,
    Word,
    add_product,
    is_negative,
    limbs,
    multiply,
    negate,
    subtract_product,
)
from factor_worker.engine.siqs.words.arrays import Ids, Index

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
    """A batch is broken or false; the text says in what."""


class Relations(NamedTuple):
    """Relations x² - kn = ± ∏ base[factors] · large[0] · large[1], in whole numbers."""

    x: Limbs
    """uint64[m, words]: not negative."""
    offsets: Index
    """int64[m + 1]: the factors of relation i are `factors[offsets[i]:offsets[i + 1]]`."""
    factors: Ids
    """uint32: indices into the factor base with multiplicity; index 0 is -1."""
    large: npt.NDArray[np.uint64]
    """uint64[m, 2]: large primes, ascending, 1 for none."""


def verify(n: int, parameters: Parameters, first: int, count: int, data: bytes) -> Relations:
    """Return the relations of a batch for the a-indices `first` to `first + count` - 1.

    Raises:
        BadBatch: it cannot be read, has relations of another range, or one that does not hold.
    """
    try:
        found = codec.decode(data)
    except codec.Malformed as error:
        raise BadBatch(str(error)) from error
    if len(found.indices) and not (
        first <= int(found.indices.min()) and int(found.indices.max()) < first + count
    ):
        raise BadBatch("an a-index is outside the unit")
    if len(found.indices) and int(found.indices.max()) >= polynomials.total(n, parameters):
        raise BadBatch("there is no such a-index")
    return checked(n, parameters, found)


def width(number: int) -> int:
    """Return how many words x has for this kn: x² and kn have room, and a sign."""
    return number.bit_length() // 64 + 2


def checked(n: int, parameters: Parameters, found: Coordinates) -> Relations:
    """Work out all x and whole factor lists, and check every relation; raise BadBatch."""
    base = factor_base.table(n, parameters)
    number = n * parameters.multiplier
    words = width(number)
    offsets = np.zeros(len(found.numbers) + 1, dtype=np.int64)
    np.cumsum(found.lengths + (parameters.factors + 2), out=offsets[1:])
    result = _Checked(
        np.zeros((len(found.numbers), words), dtype=np.uint64),
        offsets,
        np.zeros(int(offsets[-1]), dtype=np.uint32),
    )
    ground = _Ground(
        limbs(number, words),
        base.primes,
        np.array(
            [parameters.blocks * BLOCK, int(base.primes[-1]), parameters.large_bound],
            dtype=np.uint64,
        ),
    )
    for chosen, low, high in _groups(n, parameters, found):
        code = _check(
            _part(found, low, high),
            _a(chosen, parameters, words),
            ground,
            result._replace(x=result.x[low:high], offsets=offsets[low : high + 1]),
        )
        if code != _FINE:
            raise BadBatch(REASONS[code])
    return Relations(result.x, offsets, result.factors, found.large)


class _Checked(NamedTuple):
    """Where `_check` puts what it worked out."""

    x: Limbs
    offsets: Index
    factors: Ids


class _Ground(NamedTuple):
    """What all relations are checked against."""

    modulus: Limbs
    """kn."""
    primes: Ids
    bounds: Limbs
    """Positions are below the first, large primes above the second and not above the third."""


class _A(NamedTuple):
    """One a, as the kernel wants it."""

    a: Limbs
    b: Limbs
    parts: Limbs
    indices: Ids
    reach: Limbs


class _Part(NamedTuple):
    """The relations of one a."""

    numbers: Ids
    positions: Ids
    lengths: Index
    start: int
    factors: Ids
    large: Limbs


def _groups(
    n: int, parameters: Parameters, found: Coordinates
) -> Iterator[tuple[Polynomials, int, int]]:
    """Yield each a with the range of its relations."""
    low = 0
    for index, count in zip(found.indices.tolist(), found.counts.tolist(), strict=True):
        yield polynomials.at(n, parameters, index), low, low + count
        low += count


def _part(found: Coordinates, low: int, high: int) -> _Part:
    starts = int(found.lengths[:low].sum())
    return _Part(
        found.numbers[low:high],
        found.positions[low:high],
        found.lengths[low:high],
        starts,
        found.factors,
        found.large[low:high],
    )


def _a(chosen: Polynomials, parameters: Parameters, words: int) -> _A:
    return _A(
        limbs(chosen.a, words),
        limbs(chosen.b, words),
        np.stack([limbs(part, words) for part in chosen.parts]),
        np.array(chosen.indices, dtype=np.uint32),
        np.array([parameters.reach], dtype=np.uint64),
    )


@njit(cache=True)
def _check(part: _Part, one: _A, ground: _Ground, result: _Checked) -> int:
    """Fill in x and the factor lists of one a's relations; return what is wrong with the first bad one."""
    start = part.start
    for index in range(len(part.numbers)):
        number, position = np.uint64(part.numbers[index]), np.uint64(part.positions[index])
        if number >> np.uint64(len(one.parts) - 1) != ZERO or position >= ground.bounds[0]:
            return _OUTSIDE
        _fill_x(result.x[index], one, number, position)
        factors = result.factors[result.offsets[index] : result.offsets[index + 1]]
        length = part.lengths[index]
        factors[:length] = part.factors[start : start + length]
        start += length
        factors[length : length + 2] = TWO
        factors[length + 2 :] = one.indices
        if factors.max() >= len(ground.primes):
            return _NO_FACTOR
        code = _check_large(part.large[index], ground.bounds)
        if code != _FINE:
            return code
        if not _holds(result.x[index], factors, part.large[index], ground):
            return _WRONG
    return _FINE


@njit(cache=True)
def _fill_x(x: Limbs, one: _A, number: Word, position: Word) -> None:
    """Set x to |2a(position - M) + b|."""
    x[:] = one.b
    gray = number ^ (number >> ONE)
    for place in range(len(one.parts)):
        if gray >> np.uint64(place) & ONE:
            subtract_product(x, one.parts[place], np.uint64(2))
    add_product(x, one.a, np.uint64(2) * position)
    subtract_product(x, one.a, np.uint64(2) * one.reach[0])
    if is_negative(x):
        negate(x)


@njit(cache=True)
def _check_large(large: Limbs, bounds: Limbs) -> int:
    if large[0] > large[1]:
        return _NO_LARGE
    for prime in large:
        if prime == ONE:
            continue
        if prime <= bounds[1] or prime > bounds[2]:
            return _NO_LARGE
        if prime & ONE == ZERO or cofactor.is_composite(prime):
            return _COMPOSITE
    return _FINE


@njit(cache=True)
def _holds(x: Limbs, factors: Ids, large: Limbs, ground: _Ground) -> bool:
    """Say whether x² - modulus is the product; there is room for both, or the answer is no."""
    left = np.zeros(len(x), np.uint64)
    right = np.zeros(len(x), np.uint64)
    if not (_square(left, x) and _multiply_all(right, factors, large, ground.primes)):
        return False
    subtract_product(left, ground.modulus, ONE)
    difference = ZERO
    for limb in range(len(x)):
        difference |= left[limb] ^ right[limb]
    return not difference


@njit(cache=True)
def _square(square: Limbs, x: Limbs) -> bool:
    """Set the square, which is 0 before; return False if there is no room for it."""
    words = len(x)
    for limb in range(words):
        if x[limb] != ZERO:
            if 2 * limb >= words:
                return False
            add_product(square[limb:], x[: words - limb], x[limb])
    return not is_negative(square)


@njit(cache=True)
def _multiply_all(result: Limbs, factors: Ids, large: Limbs, primes: Ids) -> bool:
    """Set the product of all factors, with its sign; return False if there is no room for it."""
    result[0] = ONE
    minus = False
    for factor in factors:
        if factor == MINUS_ONE:
            minus = not minus
        elif multiply(result, np.uint64(primes[factor])):
            return False
    for prime in large:
        if multiply(result, prime):
            return False
    if is_negative(result):
        return False
    if minus:
        negate(result)
    return True
