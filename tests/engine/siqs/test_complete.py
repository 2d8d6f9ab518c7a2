"""The whole sieve in one process splits numbers of every size and kind that it accepts."""

import math
import random

import pytest

from factor_worker.engine import coprime
from factor_worker.engine.siqs import complete
from tests.engine import examples


def prime(digits: int, seed: int) -> int:
    """Return some prime with so many digits."""
    return examples.next_prime(
        random.Random(seed).randrange(10 ** (digits - 1), 9 * 10 ** (digits - 1))
    )


def bases(n: int) -> list[int]:
    """Return what the sieve splits n into."""
    divisors = complete.factor(n)
    assert all(1 < divisor < n and n % divisor == 0 for divisor in divisors)
    assert sorted(set(divisors)) == list(divisors)
    return [base for base, _exponent in coprime.refine([*divisors, n])]


@pytest.mark.parametrize("digits", [25, 30, 35, 40, 45, 50, 55, 60])
def test_semiprimes_of_every_size(digits: int) -> None:
    """Two primes of about the same size."""
    p, q = sorted((prime(digits // 2, seed=digits), prime((digits + 1) // 2, seed=digits + 1)))

    assert [p, q] == bases(p * q)


@pytest.mark.parametrize("seed", range(5))
def test_several_numbers_of_one_size(seed: int) -> None:
    """The sieve does not depend on a lucky number."""
    p, q = sorted((prime(21, seed=100 + seed), prime(21, seed=200 + seed)))

    assert [p, q] == bases(p * q)


def test_three_primes_are_separated() -> None:
    """One dependency splits off a factor, others split the rest."""
    primes = sorted(prime(15, seed=seed) for seed in (1, 2, 3))

    assert primes == bases(math.prod(primes))


def test_unbalanced_primes() -> None:
    """A factor of 10 digits that was not removed before."""
    p, q = prime(10, seed=4), prime(35, seed=5)

    assert [p, q] == bases(p * q)


@pytest.mark.parametrize("small", [3, 5, 7, 13, 1009])
def test_a_small_factor_that_was_left_in(small: int) -> None:
    """It may divide the multiplier, or be a prime of the factor base."""
    big = prime(18, seed=6) * prime(19, seed=7)

    assert small in bases(small * big)


def test_a_squared_factor_is_found() -> None:
    """p² stays together: 1 has two square roots modulo p², as modulo a prime."""
    p, q = prime(12, seed=8), prime(16, seed=9)

    assert sorted((p * p, q)) == bases(p * p * q)


def test_the_same_number_gives_the_same_divisors() -> None:
    """Nothing depends on time or chance."""
    n = prime(17, seed=10) * prime(17, seed=11)

    assert complete.factor(n) == complete.factor(n)


@pytest.mark.parametrize(
    "n", [-(10**15) - 1, 0, 1, 9, 15, 2**61 - 1, 2 * (2**61 - 1), (2**61 - 1) ** 2, 3**80]
)
def test_other_numbers_are_refused(n: int) -> None:
    """Primes and powers would be sieved for ever, small numbers have too few polynomials."""
    with pytest.raises(
        ValueError, match=r"odd composite numbers from .* that are no perfect powers"
    ):
        complete.factor(n)


def test_every_stage_is_reported() -> None:
    """Once, in order."""
    stages: list[str] = []
    n = prime(18, seed=12) * prime(18, seed=13)

    complete.factor(n, report=lambda progress: stages.append(progress.stage))

    assert ["filter", "matrix", "square root"] == list(dict.fromkeys(stages))
