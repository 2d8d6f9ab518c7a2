"""Candidates: values where enough logarithms came together are trial divided, and kept or dropped.

A candidate that is no relation is dropped as soon as the size of what is left of it shows that. The
functions here take single arrays: handing over all tables at once costs more than a division.
"""

from typing import Final

import numpy as np
from numba import njit

from factor_worker.engine.siqs.polynomials.factor_base import FIRST_ODD, MINUS_ONE, TWO
from factor_worker.engine.siqs.sieve.tables import FACTORS_LIMIT, RelationBuffer, Tables, Workspace
from factor_worker.engine.siqs.words import cofactor, lanes
from factor_worker.engine.siqs.words.arithmetic import (
    ONE,
    ZERO,
    Word,
    add_product,
    bit_length,
    divide_exact,
    is_negative,
    negate,
    subtract_product,
    trailing_zeros,
)
from factor_worker.engine.siqs.words.arrays import Bytes, Ids, Index, Limbs
from factor_worker.engine.siqs.words.lanes import CHUNK, LANES

_WORD_BITS: Final = np.uint64(64)


@njit(cache=True)
def examine(tables: Tables, work: Workspace, buffer: RelationBuffer, polynomial: int) -> bool:
    """Trial divide the candidates of a polynomial, and append those that are relations to the buffer.

    Returns False if the buffer has no room for one more relation; what it got from this polynomial is
    then incomplete.
    """
    limits = tables.limits
    primes, inverses = tables.primes, tables.inverses
    roots = work.roots1, work.roots2, tables.inverses32, tables.quotients32
    value, quotient = work.value, work.quotient
    bounds = (
        np.uint64(primes[-1]),
        np.uint64(limits.large_bound),
        np.uint64(limits.cofactor_bound),
    )
    cofactor_sizes = limits.large_prime_bits, limits.square_bits, limits.cofactor_bits
    far = tables.groups, work.hits, work.hit_ends
    for position in work.candidates[: work.candidate_count[0]]:
        relation, start = buffer.counts[0], buffer.counts[1]
        if relation == len(buffer.polynomials) or start + FACTORS_LIMIT > len(buffer.factors):
            return False
        factors = buffer.factors[start : start + FACTORS_LIMIT]
        x = np.int64(position) - limits.half_interval
        count = _evaluate(value, quotient, (work.a, work.b, work.c), x, factors)
        dividend = value, quotient, primes, inverses
        count = _divide_by_range(
            dividend, roots, FIRST_ODD, limits.first_sieved, position, factors, count
        )
        sieved = np.int64(np.uint8(work.sieve[position] - limits.initial_byte))
        if bit_length(value) - sieved > limits.hopeless_bits:
            continue
        for index in work.a_factors:
            count = _divide_out(dividend, index, factors, count)
        before_sieved = count
        count = _divide_by_range(
            dividend, roots, limits.first_sieved, limits.first_far, position, factors, count
        )
        sieved -= _logs_of(factors[before_sieved:count], work.logs)
        if _is_useless(bit_length(value) - sieved, cofactor_sizes):
            continue
        if sieved > 0:
            count = _divide_by_far(dividend, roots, far, position, factors, count)
        if bit_length(value) > 64:  # noqa: PLR2004
            continue
        smaller = cofactor.smaller_large_prime(value[0], bounds)
        if smaller == ZERO:
            continue
        buffer.polynomials[relation], buffer.positions[relation] = polynomial, position
        buffer.large_primes[relation, 0], buffer.large_primes[relation, 1] = (
            smaller,
            value[0] // smaller,
        )
        buffer.ends[relation] = start + count
        buffer.counts[0], buffer.counts[1] = relation + 1, start + count
    return True


@njit(cache=True)
def _logs_of(factors: Ids, logs: Bytes) -> np.int64:
    """Return what the primes among some ascending factors added to the sieve: each prime counts once."""
    total = np.int64(0)
    for place in range(len(factors)):
        if not place or factors[place] != factors[place - 1]:
            total += logs[factors[place]]
    return total


@njit(cache=True)
def _is_useless(size: np.int64, cofactor_sizes: tuple[int, int, int]) -> bool:
    """Return whether a cofactor of about `size` bits is too large, or lies between one large prime and two.

    `cofactor_sizes` are bits: of the largest large prime, of the square of the largest prime of the
    factor base (a product of two large primes is not below it), and of the largest cofactor.
    """
    one_large_prime, two_large_primes, limit = cofactor_sizes
    return bool(size > limit or one_large_prime < size < two_large_primes)


@njit(cache=True)
def _evaluate(
    value: Limbs, ax_b: Limbs, coefficients: tuple[Limbs, Limbs, Limbs], x: np.int64, factors: Ids
) -> int:
    """Set the value to |Q(x)| without its powers of 2; return how many factors were written: -1 and 2s.

    Q = (ax + b)x + c, where b and c are those of Q; `ax_b` is scratch for the bracket.
    """
    a, b, c = coefficients
    for limb in range(len(value)):
        ax_b[limb], value[limb] = b[limb], c[limb]
    if x >= 0:
        add_product(ax_b, a, np.uint64(x))
        add_product(value, ax_b, np.uint64(x))
    else:
        subtract_product(ax_b, a, np.uint64(-x))
        subtract_product(value, ax_b, np.uint64(-x))
    count = 0
    if is_negative(value):
        negate(value)
        factors[count] = MINUS_ONE
        count += 1
    twos = trailing_zeros(value[0])
    _shift_right(value, twos)
    for _ in range(twos):
        factors[count] = TWO
        count += 1
    return count


@njit(cache=True)
def _shift_right(value: Limbs, bits: Word) -> None:
    """Shift a number right by 0 to 63 bits, in place."""
    if bits % _WORD_BITS == ZERO:
        return
    for limb in range(len(value) - 1):
        value[limb] = (value[limb] >> bits) | (value[limb + 1] << (_WORD_BITS - bits))
    value[len(value) - 1] >>= bits


@njit(cache=True)
def _divide_out(
    dividend: tuple[Limbs, Limbs, Ids, Limbs], index: np.int64, factors: Ids, count: int
) -> int:
    """Divide the value by a prime as often as possible, writing its index each time; return the count."""
    value, quotient, primes, inverses = dividend
    p, inverse = np.uint64(primes[index]), inverses[index]
    while divide_exact(quotient, value, p, inverse):
        for limb in range(len(value)):
            value[limb] = quotient[limb]
        factors[count] = index
        count += 1
    return count


@njit(cache=True)
def _divide_by_range(  # noqa: PLR0913, PLR0917 see above
    dividend: tuple[Limbs, Limbs, Ids, Limbs],
    roots: tuple[Ids, Ids, Ids, Ids],
    start: int,
    stop: int,
    position: np.uint32,
    factors: Ids,
    count: int,
) -> int:
    """Divide by the primes from `start` to `stop` - 1 that have a root congruent to the position.

    The last vector may reach back below `start`; hits outside the range are ignored.
    """
    first, second, inverses, quotients = roots
    for place in range(start, stop, LANES):
        low = max(0, min(place, stop - LANES))
        hits = lanes.root_hits(first, second, inverses, quotients, low, position)
        while hits:
            index = low + np.int64(trailing_zeros(hits))
            hits &= hits - ONE
            if start <= index < stop:
                count = _divide_out(dividend, index, factors, count)
    return count


@njit(cache=True)
def _divide_by_far(  # noqa: PLR0913, PLR0917
    dividend: tuple[Limbs, Limbs, Ids, Limbs],
    roots: tuple[Ids, Ids, Ids, Ids],
    far: tuple[Index, Ids, Index],
    position: np.uint32,
    factors: Ids,
    count: int,
) -> int:
    """Divide by the far primes that hit the position.

    The list of hits is searched for the position; only the primes of the groups whose hits overlap a
    chunk that has it are tried.
    """
    groups, hits, ends = far
    if not len(groups):
        return count
    group = 0
    for start in range(0, ends[-1], CHUNK):
        if not lanes.contains(hits, start, position):
            continue
        while ends[group] <= start:
            group += 1
        last = group
        while True:
            low, high = groups[last, 0], groups[last, 1]
            count = _divide_by_range(dividend, roots, low, high, position, factors, count)
            if ends[last] >= start + CHUNK or last == len(groups) - 1:
                break
            last += 1
    return count
