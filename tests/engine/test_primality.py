"""Primes are proven where that is quick, and called probable where it is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factor_worker.engine import parts, powers, primality, verify
from factor_worker.engine.parts import Certainty
from tests.engine import examples


@given(st.integers(2, 10**40))
def test_two_libraries_agree(n: int) -> None:
    """FLINT classifies, GMP checks."""
    expected = Certainty.PROVEN if verify.is_prime(n) else Certainty.COMPOSITE

    assert expected is primality.classify(n, prove=True)


@pytest.mark.parametrize("n", [*examples.CARMICHAEL, *examples.STRONG_PSEUDOPRIMES])
def test_pseudoprimes_are_called_composite(n: int) -> None:
    """With and without a proof."""
    assert primality.classify(n, prove=False) is Certainty.COMPOSITE
    assert primality.classify(n, prove=True) is Certainty.COMPOSITE


def test_certainty_depends_on_size_and_on_what_is_asked() -> None:
    """Below 2^64 BPSW proves; above, a proof must be asked for, up to 300 digits."""
    small, medium = (1 << 64) - 59, examples.P40
    huge = examples.next_prime(10**300)

    assert primality.classify(small, prove=False) is Certainty.PROVEN
    assert primality.classify(medium, prove=False) is Certainty.PROBABLE
    assert primality.classify(medium, prove=True) is Certainty.PROVEN
    assert primality.classify(huge, prove=True) is Certainty.PROBABLE


def test_a_number_of_200_digits_can_be_proven() -> None:
    """The size of numbers that a `prove` unit gets."""
    prime = examples.next_prime(10**199)

    assert primality.classify(prime, prove=True) is Certainty.PROVEN


@given(st.integers(2, 10**6), st.integers(1, 60))
def test_perfect_powers_are_found_with_their_largest_exponent(base: int, exponent: int) -> None:
    """The root is no perfect power itself."""
    root, found = powers.perfect_power(base**exponent)

    assert root**found == base**exponent
    assert found % exponent == 0
    assert powers.perfect_power(root) == (root, 1)


@given(st.integers(1, 10**60) | st.integers(1, 5000).map(lambda k: 10**k - 1))
def test_digits_are_counted_exactly(n: int) -> None:
    """Next to powers of ten too, and beyond the size that str() converts."""
    count = parts.digits(n)

    assert 10 ** (count - 1) <= n < 10**count
    assert parts.digits(n + 1) in {count, count + 1}
