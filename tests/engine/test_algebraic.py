"""Numbers b^n +- 1 are recognised, and split into all their algebraic factors."""

import math

import pytest
from flint import fmpz, fmpz_poly
from hypothesis import given
from hypothesis import strategies as st

from factor_worker.engine import algebraic, aurifeuillian, parts, survey, verify

SQUAREFREE = [k for k in range(2, 120) if fmpz(k).moebius_mu() != 0]


@given(st.integers(2, 60), st.integers(2, 60), st.sampled_from([-1, 1]))
def test_the_pieces_multiply_to_the_number(base: int, exponent: int, sign: int) -> None:
    """Whatever the base, exponent and sign, and no piece is 1."""
    n = base**exponent + sign

    assert math.prod(algebraic.pieces(n)) == n
    assert all(piece > 1 for piece in algebraic.pieces(n))


@given(st.integers(2, 10**40))
def test_other_numbers_are_their_only_piece(n: int) -> None:
    """A number that is not of the form b^n +- 1 is not split."""
    pieces = algebraic.pieces(n)

    assert math.prod(pieces) == n
    assert algebraic.recognise(n) or pieces == (n,)


def test_the_largest_exponent_is_recognised() -> None:
    """4^5 + 1 is 2^10 + 1; numbers below 5 are not recognised."""
    assert algebraic.recognise(4**5 + 1) == (2, 10, 1)
    assert algebraic.recognise(10**100 - 1) == (10, 100, -1)
    assert [algebraic.recognise(n) for n in (2, 3, 4)] == [None] * 3
    assert algebraic.recognise(2**128 + 3) is None


def test_a_mersenne_number_splits_into_cyclotomic_values() -> None:
    """2^1001 - 1 has one for each of the eight divisors of 1001, and one of these is 1."""
    n = 2**1001 - 1
    expected = {int(fmpz_poly.cyclotomic(d)(2)) for d in algebraic.divisors(1001)} - {1}

    assert set(algebraic.pieces(n)) == expected


@pytest.mark.parametrize("k", SQUAREFREE)
def test_lucas_polynomials_satisfy_their_identity(k: int) -> None:
    """C^2 - k x D^2 is the cyclotomic polynomial."""
    c, d = (fmpz_poly(list(reversed(half))) for half in aurifeuillian.lucas_polynomials(k))
    x = fmpz_poly([0, 1])

    assert c * c - k * x * d * d == fmpz_poly.cyclotomic(k if k % 4 == 1 else 2 * k)


@pytest.mark.parametrize(
    ("base", "exponent", "sign", "factor"),
    [
        (2, 106, 1, 2**53 - 2**27 + 1),
        (2, 4002, 1, 2**2001 + 2**1001 + 1),
        (3, 303, 1, 3**101 + 1),
        (3, 303, 1, 3**101 - 3**51 + 1),
        (5, 155, -1, 5**62 + 3 * 5**31 + 1 - 5**16 * (5**31 + 1)),
        (6, 66, 1, 6**22 + 3 * 6**11 + 1 - 6**6 * (6**11 + 1)),
        (12, 57, 1, 12**19 - 6 * 12**9 + 1),
        (18, 22, 1, 18**11 - 6 * 18**5 + 1),
    ],
)
def test_aurifeuillian_factors_are_found(base: int, exponent: int, sign: int, factor: int) -> None:
    """The textbook factors are products of the pieces."""
    pieces = algebraic.pieces(base**exponent + sign)

    assert math.prod(math.gcd(piece, factor) for piece in set(pieces)) % factor == 0
    assert all(math.gcd(piece, factor) in {1, piece} for piece in pieces if piece > 10**6)


def test_aurifeuillian_values_split_for_every_base_that_allows_it() -> None:
    """For squarefree k, Phi_m(k y^2) splits into two factors of about the same size."""
    for k in SQUAREFREE[:20]:
        order = k if k % 4 == 1 else 2 * k
        value = int(fmpz_poly.cyclotomic(order)(k * 49))
        low, high = sorted(aurifeuillian.pieces(k * 49, order, value))

        assert low * high == value
        assert parts.digits(high) - parts.digits(low) <= parts.digits(high) // 4 + 1


def test_a_survey_uses_algebraic_factors() -> None:
    """A survey splits 2^1002 + 1, which has 302 digits and is out of reach otherwise."""
    n = 2**1002 + 1
    found = survey.survey(n)

    verify.verify(n, found)
    assert max(parts.digits(part.value) for part in found) < 102
