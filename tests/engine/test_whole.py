"""Complete factorizations in one call, on either side of the size where our own sieve takes over."""

import math

import pytest

from factor_worker.engine import verify, whole
from factor_worker.engine.parts import Certainty, digits

P22, P23, P26, P27 = 10**21 + 117, 10**22 + 9, 10**25 + 13, 10**26 + 67


@pytest.mark.parametrize(
    "primes",
    [
        (P22, P23),
        (P23, P27),
        (P23, P26),
        (10**8 + 7, 10**9 + 7, P27, 10**8 + 37),
        (P26, P27),
        (P27,),
    ],
    ids=len,
)
def test_every_prime_is_found_and_proven(primes: tuple[int, ...]) -> None:
    """The product is the number, whoever found the pieces."""
    n = math.prod(primes)
    found = whole.factor_completely(n)

    verify.verify(n, found)
    assert sorted(primes) == [part.value for part in found]
    assert {Certainty.PROVEN} == {part.certainty for part in found}


def test_the_examples_lie_on_both_sides_of_the_border() -> None:
    """Else the test above would try one library only."""
    assert digits(P22 * P23) < whole.SIEVE_FROM_DIGITS <= digits(P23 * P27)
