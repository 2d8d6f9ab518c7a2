"""Every a-index has its own a, and every b is a square root of kn modulo 4a."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factor_worker.engine.siqs.polynomials import factor_base, parameters, polynomials
from tests.engine import examples

N = examples.P20 * examples.P25
CHOSEN = parameters.choose(N)
KN = N * CHOSEN.multiplier
SMALL = examples.next_prime(10**12) * examples.next_prime(3 * 10**12)


def test_every_index_has_its_own_a() -> None:
    """Checked for every index of a small number."""
    chosen = parameters.choose(SMALL)
    total = polynomials.a_count(SMALL, chosen)
    seen = {polynomials.family(SMALL, chosen, index).a for index in range(total)}

    assert total == len(seen)


indices = st.integers(min_value=0, max_value=polynomials.a_count(N, CHOSEN) - 1)


@settings(deadline=None)
@given(indices, indices)
def test_different_indices_have_different_as(one: int, other: int) -> None:
    """Checked for pairs of indices of a large number."""
    same = polynomials.family(N, CHOSEN, one).a == polynomials.family(N, CHOSEN, other).a

    assert (one == other) == same


@settings(deadline=None)
@given(indices, st.data())
def test_b_is_an_odd_square_root(index: int, data: st.DataObject) -> None:
    """b² ≡ kn (mod 4a), for every polynomial of an a."""
    family = polynomials.family(N, CHOSEN, index)
    b = family.b_of(data.draw(st.integers(min_value=0, max_value=family.size - 1)))

    assert b % 2 == 1
    assert (b * b - KN) % (4 * family.a) == 0


@settings(deadline=None)
@given(indices)
def test_all_bs_of_an_a_differ(index: int) -> None:
    """Even up to sign, so that no X occurs twice."""
    family = polynomials.family(N, CHOSEN, index)
    bs = {
        min(b % (2 * family.a), -b % (2 * family.a)) for b in map(family.b_of, range(family.size))
    }

    assert family.size == len(bs)


@settings(deadline=None)
@given(indices)
def test_a_is_near_its_ideal(index: int) -> None:
    """Values grow with its distance from √(kn/2)/M."""
    family = polynomials.family(N, CHOSEN, index)
    base = factor_base.primes(N, CHOSEN)

    assert family.a == math.prod(family.a_primes)
    assert family.a_primes == tuple(base[one] for one in family.a_factors)
    assert len(set(family.a_primes)) == CHOSEN.factors
    assert 0.5 < family.a / (math.isqrt(KN // 2) / CHOSEN.half_interval) < 2


@pytest.mark.parametrize("index", [-1, polynomials.a_count(N, CHOSEN)])
def test_indices_out_of_range_are_refused(index: int) -> None:
    """The error gives the range."""
    with pytest.raises(IndexError, match="a-indices are 0 to"):
        polynomials.family(N, CHOSEN, index)
