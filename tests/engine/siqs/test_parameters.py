"""Parameters fit into messages, are the same for the same number, and describe a sieve that works."""

import gmpy2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factor_worker.engine.siqs.polynomials import factor_base, parameters, polynomials
from factor_worker.engine.siqs.polynomials.parameters import Parameters
from tests.engine import examples

composites = st.tuples(
    st.integers(min_value=10**12, max_value=10**54), st.integers(min_value=10**12, max_value=10**54)
).map(lambda pair: examples.next_prime(pair[0]) * examples.next_prime(pair[1]))


@settings(deadline=None)
@given(composites)
def test_kn_is_1_modulo_8_and_k_is_squarefree(n: int) -> None:
    """Otherwise values would have fewer powers of two."""
    multiplier = parameters.choose(n).multiplier

    assert n * multiplier % 8 == 1
    assert all(multiplier % (p * p) for p in (3, 5, 7, 11, 13))


@settings(deadline=None)
@given(composites)
def test_parameters_survive_a_message(n: int) -> None:
    """They are the same after a round trip, and when chosen again."""
    chosen = parameters.choose(n)

    assert chosen == Parameters.from_dict(chosen.to_dict()) == parameters.choose(n)
    assert all(type(value) is int for value in chosen)


@pytest.mark.parametrize("change", [{"size": "100"}, {"size": True}, {"sise": 100}])
def test_malformed_parameters_are_refused(change: dict[str, object]) -> None:
    """Text, booleans and misspelt names."""
    values = parameters.choose(examples.P20 * examples.P25).to_dict() | change

    with pytest.raises(ValueError, match="parameters are the integers multiplier, size"):
        Parameters.from_dict(values)


@pytest.mark.parametrize("digits", range(22, 111, 4))
def test_there_are_enough_polynomials_at_every_size(digits: int) -> None:
    """And the primes of a are in the factor base."""
    n = examples.next_prime(10 ** (digits // 2)) * examples.next_prime(3 * 10 ** (digits // 2))
    chosen = parameters.choose(n)._replace(size=min(parameters.choose(n).size, 3000))

    assert polynomials.a_count(n, chosen) > 40
    assert len(polynomials.family(n, chosen, 39).a_factors) == chosen.factors


def test_the_factor_base_has_the_first_primes_that_qualify() -> None:
    """-1, 2, and the smallest odd primes modulo which kn is a square."""
    n = examples.P20 * examples.P25
    chosen = parameters.choose(n)
    kn = n * chosen.multiplier
    base = factor_base.primes(n, chosen)
    wanted, prime = [-1, 2], 3
    while len(wanted) < chosen.size:
        if gmpy2.jacobi(kn, prime) in {0, 1}:
            wanted.append(prime)
        prime = examples.next_prime(prime)

    assert wanted == base


def test_roots_are_square_roots_and_logarithms_are_rounded() -> None:
    """For every prime of the base."""
    n = examples.P20 * examples.P25
    chosen = parameters.choose(n)
    kn = n * chosen.multiplier
    table = factor_base.of(n, chosen)

    columns = (column.tolist() for column in table)
    for p, root, log, inverse, inverse32, quotient32 in list(zip(*columns, strict=True))[2:]:
        assert (root * root - kn) % p == 0
        assert 2 ** (2 * log - 1) <= p * p < 2 ** (2 * log + 1)
        assert p * inverse % 2**64 == 1
        assert p * inverse32 % 2**32 == 1
        assert quotient32 == (2**32 - 1) // p
