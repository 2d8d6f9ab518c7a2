"""A survey says only what is true, and says all that costs little."""

import time

import pytest
from hypothesis import given, settings

from factor_worker.engine import parts, survey, trial, verify, whole
from factor_worker.engine.parts import Certainty, Part
from tests.engine import examples

SLOWEST_S = 5.0


@given(examples.NUMBERS)
@settings(deadline=None, max_examples=150)
def test_a_survey_is_a_decomposition_of_its_number(n: int) -> None:
    """Product, order, coprimality and every certainty hold by an independent check."""
    found = survey.survey(n)

    verify.verify(n, found)
    assert all(
        part.certainty is not Certainty.COMPOSITE or parts.digits(part.value) > survey.WHOLE_DIGITS
        for part in found
    )


@given(examples.NUMBERS)
@settings(deadline=None, max_examples=30)
def test_factoring_a_number_completely_leaves_only_primes(n: int) -> None:
    """FLINT's answer verifies, too."""
    if parts.digits(n) > survey.WHOLE_DIGITS:
        return
    found = whole.factor_completely(n)

    verify.verify(n, found)
    assert found == survey.survey(n)


@pytest.mark.parametrize(
    "entry",
    [entry for entry in examples.WORKLOAD if entry["digits"] <= survey.WHOLE_DIGITS],
    ids=lambda entry: entry["name"],
)
def test_the_small_part_of_the_workload_is_factored(entry: dict[str, object]) -> None:
    """The factors are those of the file."""
    found = survey.survey(int(str(entry["n"])))

    flat = sorted(str(part.value) for part in found for _ in range(part.exponent))
    assert sorted(map(str, entry["factors"])) == flat  # type: ignore[call-overload]


def test_numbers_that_pass_weak_tests_are_not_taken_for_primes() -> None:
    """Carmichael numbers and strong pseudoprimes are composite, whatever their witnesses say."""
    for n in [*examples.CARMICHAEL, *examples.STRONG_PSEUDOPRIMES]:
        found = survey.survey(n)

        verify.verify(n, found)
        assert found != ((n, 1, Certainty.PROVEN),)
        assert found != ((n, 1, Certainty.PROBABLE),)


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (2, [(2, 1)]),
        (1234, [(2, 1), (617, 1)]),
        (2**64, [(2, 64)]),
        (examples.P20**2, [(examples.P20, 2)]),
        (examples.P40**2, [(examples.P40, 2)]),
        (examples.P20**40, [(examples.P20, 40)]),
        (999983**2 * 1000003**2, [(999983, 2), (1000003, 2)]),
        (12**15 * examples.P25**3, [(2, 30), (3, 15), (examples.P25, 3)]),
        (examples.FLINT_ONCE_HUNG_ON, None),
    ],
    ids=lambda x: str(x)[:20],
)
def test_awkward_shapes_fall_at_once(n: int, expected: list[tuple[int, int]] | None) -> None:
    """Powers, squares of hard primes, and a number that older FLINTs never came back from."""
    found = survey.survey(n)

    verify.verify(n, found)
    assert all(part.certainty is Certainty.PROVEN for part in found)
    assert expected is None or [(p.value, p.exponent) for p in found] == expected


def test_a_square_times_a_prime_waits_for_ecm_as_one_composite() -> None:
    """p25^2 p20 is over the limit of a survey; ECM's divisor then takes it apart."""
    n = examples.P25**2 * examples.P20

    assert survey.survey(n) == ((n, 1, Certainty.COMPOSITE),)


def test_two_primes_close_together_fall_to_fermat() -> None:
    """A weak key of 600 digits is no work."""
    p = examples.next_prime(10**300)
    q = examples.next_prime(p)

    found = survey.survey(p * q)

    assert found == ((p, 1, Certainty.PROBABLE), (q, 1, Certainty.PROBABLE))


def test_a_prime_is_proven_up_to_the_limit_and_probable_beyond() -> None:
    """100 digits are proven inside; more is left to a unit of its own."""
    small, large = examples.next_prime(10**99), examples.next_prime(10**100)

    assert survey.survey(small) == (Part(small, 1, Certainty.PROVEN),)
    assert survey.survey(large) == (Part(large, 1, Certainty.PROBABLE),)


@pytest.mark.parametrize(
    "n",
    [
        10**999 + 7,
        int("12345679" * 125),
        2**3320 - 1,
        6**1260 + 1,
        examples.next_prime(10**499) * examples.next_prime(10**500),
        examples.next_prime(10**499) ** 2,
        2**3000 * 3**60,
    ],
    ids=["cofactor", "repeated", "mersenne", "cyclotomic", "semiprime", "square", "smooth"],
)
def test_a_thousand_digits_are_surveyed_in_seconds(n: int) -> None:
    """Whatever the shape, a survey is a short unit."""
    begun = time.process_time()

    found = survey.survey(n)

    assert time.process_time() - begun < SLOWEST_S
    verify.verify(n, found)


@pytest.mark.parametrize("n", [1, 0, -1, -15])
def test_numbers_below_two_are_the_callers_business(n: int) -> None:
    """They have no decomposition, and the error says so."""
    with pytest.raises(ValueError, match="below 2"):
        survey.survey(n)


def test_trial_division_finds_every_prime_below_its_limit() -> None:
    """Exponents and the rest are exact, at both ends of the table."""
    n = 2**10 * 3 * 999983**3 * 1000003

    assert trial.divide(n) == ([(2, 10), (3, 1), (999983, 3)], 1000003)
    assert trial.divide(n, limit=3) == ([(2, 10)], n >> 10)
