"""Factor refinement keeps the product, and leaves pairwise coprime numbers."""

import math
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factor_worker.engine import coprime, verify
from factor_worker.engine.parts import Certainty, Part
from tests.engine import examples

SMOOTH = st.lists(st.sampled_from([2, 2, 3, 5, 7, 11, 13, 101]), max_size=12).map(math.prod)


@given(st.lists(SMOOTH | st.integers(1, 10**12), max_size=8))
def test_a_base_is_coprime_and_has_the_same_product(values: list[int]) -> None:
    """The definition of a coprime base, with exponents."""
    base = coprime.refine(values)

    assert math.prod(values) == math.prod(b**e for b, e in base)
    assert all(math.gcd(a, b) == 1 for (a, _), (b, _) in combinations(base, 2))
    assert all(b > 1 and e > 0 for b, e in base)
    assert list(base) == sorted(base)


@given(st.lists(st.integers(1, 10**6), max_size=5))
def test_every_value_is_a_product_of_powers_of_the_base(values: list[int]) -> None:
    """Dividing the base out of any value leaves 1."""
    base = coprime.refine(values)

    for value in values:
        rest = value
        for b, _ in base:
            while rest % b == 0:
                rest //= b
        assert rest == 1


@given(
    st.lists(examples.primes(bits=60), min_size=2, max_size=6),
    st.lists(st.integers(0, 2**6 - 1), max_size=4),
)
def test_splitting_by_divisors_gives_a_true_decomposition(p: list[int], picks: list[int]) -> None:
    """Any divisors, composite and repeated ones included, give a decomposition that verifies."""
    n = math.prod(p)
    divisors = [math.prod(q for i, q in enumerate(p) if pick >> i & 1) for pick in picks]
    whole = (Part(n, 1, Certainty.COMPOSITE),)

    if p.count(p[0]) == len(p):
        return  # a perfect power is no single part of a decomposition that was reduced
    found = coprime.split(whole, divisors)

    verify.verify(n, found)


def test_a_square_that_is_split_off_becomes_a_prime_with_an_exponent() -> None:
    """p25^2 · p20, whichever divisor ECM has found."""
    p, q = examples.P20, examples.P25
    expected = (Part(p, 1, Certainty.PROBABLE), Part(q, 2, Certainty.PROBABLE))
    whole = (Part(p * q**2, 1, Certainty.COMPOSITE),)

    assert coprime.split(whole, [p]) == expected
    assert coprime.split(whole, [q]) == expected
    assert coprime.split(whole, [p * q]) == expected


def test_useless_divisors_change_nothing() -> None:
    """1, the number itself, numbers that share nothing and divisors of a prime part; 0 is refused."""
    parts = (Part(7, 2, Certainty.PROVEN), Part(examples.P20 * 11, 3, Certainty.COMPOSITE))

    assert coprime.split(parts, [1, 7, examples.P20 * 11, 13, -1]) == parts
    with pytest.raises(ValueError, match="zero"):
        coprime.split(parts, [0])


def test_exponents_multiply() -> None:
    """The pieces of a composite part inherit its exponent."""
    parts = (Part(15, 3, Certainty.COMPOSITE),)

    assert coprime.split(parts, [3]) == (
        Part(3, 3, Certainty.PROVEN),
        Part(5, 3, Certainty.PROVEN),
    )
