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
"""Such as are left of a value."""


def value(number: Limbs) -> int:
    """Return a multi-word number as Python's integer."""
    return int.from_bytes(number.astype("<u8").tobytes(), "little")


def inverse(prime: int) -> np.uint64:
    """Return the inverse modulo 2^64. What a kernel returns is Python's integer again."""
    return np.uint64(arithmetic.word_inverse(np.uint64(prime)))


@settings(deadline=None)
@given(numbers, numbers, words)
def test_products_are_added_and_subtracted(total: int, number: int, factor: int) -> None:
    """Both wrap around."""
    up, down = arithmetic.to_limbs(total, WORDS), arithmetic.to_limbs(total, WORDS)
    arithmetic.add_product(up, arithmetic.to_limbs(number, WORDS), np.uint64(factor))
    arithmetic.subtract_product(down, arithmetic.to_limbs(number, WORDS), np.uint64(factor))

    assert (total + number * factor) % MODULUS == value(up)
    assert (total - number * factor) % MODULUS == value(down)


@settings(deadline=None)
@given(numbers, words)
def test_a_product_says_what_it_carries_out(number: int, factor: int) -> None:
    """Nothing is lost."""
    result = arithmetic.to_limbs(number, WORDS)
    carried = arithmetic.multiply(result, np.uint64(factor))

    assert number * factor == value(result) + int(carried) * MODULUS


@settings(deadline=None)
@given(st.integers(min_value=-MODULUS // 2 + 1, max_value=MODULUS // 2 - 1))
def test_the_sign_changes(number: int) -> None:
    """Negative numbers are in two's complement."""
    result = arithmetic.to_limbs(number, WORDS)

    assert (number < 0) == arithmetic.is_negative(result)
    arithmetic.negate(result)
    assert -number % MODULUS == value(result)


@settings(deadline=None)
@given(numbers, odd_primes, st.booleans())
def test_division_is_exact_or_says_so(number: int, prime: int, multiple: bool) -> None:  # noqa: FBT001 hypothesis passes it
    """A remainder never goes unnoticed, and a quotient is right."""
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
def test_a_negative_multiple_is_divided(quotient: int, prime: int) -> None:
    """The quotient is right whatever the sign."""
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
def test_bits_are_counted(number: int) -> None:
    """As Python counts them."""
    assert number.bit_length() == arithmetic.bit_length(arithmetic.to_limbs(number, WORDS))


@settings(deadline=None)
@given(large_primes, large_primes)
def test_a_product_of_two_primes_is_split(p: int, q: int) -> None:
    """Also a square."""
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
    """Above the largest prime of the base, here 1009, and up to a bound of their own."""
    bounds = (np.uint64(1009), np.uint64(10_000), np.uint64(9 * 10**7))

    assert smaller == cofactor.smaller_large_prime(np.uint64(rest), bounds)


@settings(deadline=None)
@given(st.integers(min_value=3, max_value=2**62).map(lambda number: number | 1))
def test_fermat_never_calls_a_prime_composite(number: int) -> None:
    """And seldom calls a composite number prime."""
    by_fermat = pow(2, number - 1, number) != 1

    assert by_fermat == cofactor.is_composite(np.uint64(number))
    assert not (by_fermat and gmpy2.is_prime(number))


def test_limbs_hold_what_python_holds() -> None:
    """Modulo the room that there is."""
    number = math.factorial(40)

    assert number % MODULUS == value(arithmetic.to_limbs(number, WORDS))
