"""Small numbers are factored by the program that is asked."""

import math

import gmpy2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.domain import Certainty, Status, small

TOP = 2**64


@given(st.integers(2, TOP - 1))
def test_the_parts_are_primes_that_multiply_to_the_number(number: int) -> None:
    """Every part is a proven prime, and their product is the number."""
    found = small.factorization(number, 5.0)

    assert number == math.prod(part.value**part.exponent for part in found.parts)
    assert all(gmpy2.is_prime(int(part.value), 50) for part in found.parts)
    assert {Certainty.PROVEN} == {part.certainty for part in found.parts}


@pytest.mark.parametrize(
    ("number", "factors"),
    [
        (2, {2: 1}),
        (2**63, {2: 63}),
        (TOP - 59, {TOP - 59: 1}),
        (4294967291**2, {4294967291: 2}),
        (4294967291 * 4294967279, {4294967279: 1, 4294967291: 1}),
        (3825123056546413051, {149491: 1, 747451: 1, 34233211: 1}),
    ],
    ids=str,
)
def test_hard_numbers(number: int, factors: dict[int, int]) -> None:
    """These are the largest primes, their products, and a strong pseudoprime to the first nine bases."""
    found = small.factorization(number, 5.0)

    assert factors == {int(part.value): part.exponent for part in found.parts}


def test_the_factorization_has_ended() -> None:
    """Nothing is left to do, and it ended when it was asked for."""
    found = small.factorization(91, 5.0)

    assert found.ended is not None
    assert (Status.SUCCEEDED, 5.0) == (found.ended.status, found.ended.at)
    assert ({}, ()) == (found.outstanding, found.outbox)
