"""Complete factorizations in one call, on both sides of each size at which another method takes over."""

import math

import pytest

from factor_worker.engine import verify, whole
from factor_worker.engine.parts import Certainty
from factor_worker.engine.siqs.tiny import tiny

P9, P10, P13, P22, P23, P27 = (
    10**8 + 7,
    10**9 + 7,
    10**12 + 39,
    10**21 + 117,
    10**22 + 9,
    10**26 + 67,
)


@pytest.mark.parametrize(
    "primes",
    [
        (P9, 10**8 + 37),  # FLINT
        (P10, P13),  # the tiny sieve
        (P9, P10, P13),
        (P10, P10, P13),
        (P13, P13, P13),
        (P9, P9, P9, P9),
        (P22, P23),
        (P23, P27),  # the sieve
        (P9, P10, P27, 10**8 + 37),
        (P27,),
    ],
    ids=str,
)
def test_every_prime_is_found_and_proven(primes: tuple[int, ...]) -> None:
    """The product is the number, whichever method found the pieces."""
    n = math.prod(primes)
    found = whole.factor_completely(n)

    verify.verify(n, found)
    assert sorted(primes) == [part.value for part in found for _ in range(part.exponent)]
    assert {Certainty.PROVEN} == {part.certainty for part in found}


def test_the_examples_lie_on_both_sides_of_each_border() -> None:
    """Otherwise the test above would not try every method."""
    assert P9 * P9 < 1 << tiny.SMALLEST_BITS < P10 * P13
    assert P22 * P23 < 1 << tiny.LARGEST_BITS < P23 * P27
