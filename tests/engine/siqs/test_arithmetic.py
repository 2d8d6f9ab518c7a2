"""Words, multi-word integers and cofactors agree with Python's own integers."""

import math

import gmpy2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factor_worker.engine.siqs.words import arithmetic, cofactor
from factor_worker.engine.siqs.words.arrays import Limbs

WORDS = 3
MODULUS = 1 << (64 * WORDS)
numbers = st.integers(min_value=0, max_value=MODULUS - 1)
words = st.integers(min_value=0, max_value=2**64 - 1)
odd_primes = st.integers(min_value=2, max_value=2**31).map(gmpy2.next_prime).map(int)
"""Up to the next prime after 2^31."""
large_primes = st.integers(min_value=1000, max_value=2**31).map(gmpy2.next_prime).map(int)
"""Primes of the sizes that cofactors have."""


def value(number: Limbs) -> int:
    """Return a multi-word number as a Python integer."""
    return int.from_bytes(number.astype("<u8").tobytes(), "little")


def inverse(prime: int) -> np.uint64:
    """Return the inverse modulo 2^64, as a word: kernels return Python integers."""
    return np.uint64(arithmetic.word_inverse(np.uint64(prime)))


@settings(deadline=None)
@given(numbers, numbers, words)
def test_products_are_added_and_subtracted(total: int, number: int, factor: int) -> None:
    """Modulo 2^(64·L)."""
    up, down = arithmetic.to_limbs(total, WORDS), arithmetic.to_limbs(total, WORDS)
    arithmetic.add_product(up, arithmetic.to_limbs(number, WORDS), np.uint64(factor))
    arithmetic.subtract_product(down, arithmetic.to_limbs(number, WORDS), np.uint64(factor))

    assert (total + number * factor) % MODULUS == value(up)
    assert (total - number * factor) % MODULUS == value(down)


@settings(deadline=None)
@given(numbers, words)
def test_a_product_returns_its_carry(number: int, factor: int) -> None:
    """The product and the word carried out make up the true product."""
    result = arithmetic.to_limbs(number, WORDS)
    carried = arithmetic.multiply(result, np.uint64(factor))

    assert number * factor == value(result) + int(carried) * MODULUS


@settings(deadline=None)
@given(st.integers(min_value=-MODULUS // 2 + 1, max_value=MODULUS // 2 - 1))
def test_numbers_are_negated(number: int) -> None:
    """In two's complement."""
    result = arithmetic.to_limbs(number, WORDS)

    assert (number < 0) == arithmetic.is_negative(result)
    arithmetic.negate(result)
    assert -number % MODULUS == value(result)


@settings(deadline=None)
@given(numbers, odd_primes, st.booleans())
def test_exact_division_notices_a_remainder(number: int, prime: int, multiple: bool) -> None:  # noqa: FBT001 hypothesis passes it
    """And without a remainder the quotient is right."""
    number -= number % prime if multiple else 0
    quotient = arithmetic.to_limbs(0, WORDS)
    exact = arithmetic.divide_exact(
        quotient,
        arithmetic.to_limbs(number, WORDS),
        np.uint64(prime),
        inverse(prime),
    )

    assert (number % prime == 0) == exact
    if exact:
        assert number // prime == value(quotient)


@settings(deadline=None)
@given(st.integers(min_value=-(2**100), max_value=2**100), odd_primes)
def test_negative_multiples_are_divided(quotient: int, prime: int) -> None:
    """The quotient is right for both signs."""
    result = arithmetic.to_limbs(0, WORDS)
    arithmetic.divide_exact(
        result,
        arithmetic.to_limbs(quotient * prime, WORDS),
        np.uint64(prime),
        inverse(prime),
    )

    assert quotient % MODULUS == value(result)


@settings(deadline=None)
@given(numbers)
def test_bit_lengths_are_those_of_python(number: int) -> None:
    """For numbers of several words."""
    assert number.bit_length() == arithmetic.bit_length(arithmetic.to_limbs(number, WORDS))


@settings(deadline=None)
@given(large_primes, large_primes)
def test_a_product_of_two_primes_is_split(p: int, q: int) -> None:
    """Squares of primes included."""
    divisor = int(cofactor.split(np.uint64(p * q)))

    assert divisor in {p, q}


@pytest.mark.parametrize(
    ("rest", "smaller"),
    [
        (1, 1),
        (1009, 0),  # a prime of the base
        (1013, 1),
        (9973, 1),
        (10007, 0),
        (1013 * 9973, 1013),
        (1009 * 9973, 0),
        (1013 * 10007, 0),
        (9949 * 9973, 0),  # above the bound of products
    ],
)
def test_large_primes_are_within_their_bounds(rest: int, smaller: int) -> None:
    """Large primes are above the largest prime of the base, here 1009, and up to their own bound."""
    bounds = (np.uint64(1009), np.uint64(10_000), np.uint64(9 * 10**7))

    assert smaller == cofactor.smaller_large_prime(np.uint64(rest), bounds)


@settings(deadline=None)
@given(st.integers(min_value=3, max_value=2**62).map(lambda number: number | 1))
def test_fermats_test_never_calls_a_prime_composite(number: int) -> None:
    """And it agrees with Python's own power."""
    by_fermat = pow(2, number - 1, number) != 1

    assert by_fermat == cofactor.is_composite(np.uint64(number))
    assert not (by_fermat and gmpy2.is_prime(number))


def test_integers_become_limbs() -> None:
    """Modulo 2^(64·L)."""
    number = math.factorial(40)

    assert number % MODULUS == value(arithmetic.to_limbs(number, WORDS))
