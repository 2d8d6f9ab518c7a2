"""A survey returns a true decomposition with everything that is quick to find."""

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
    """The answer verifies, and agrees with that of a survey."""
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


def test_pseudoprimes_are_not_taken_for_primes() -> None:
    """Carmichael numbers and strong pseudoprimes pass weaker tests than ours."""
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
def test_awkward_numbers_are_factored_completely(
    n: int, expected: list[tuple[int, int]] | None
) -> None:
    """Powers, squares of large primes, and a number on which older versions of FLINT hang."""
    found = survey.survey(n)

    verify.verify(n, found)
    assert all(part.certainty is Certainty.PROVEN for part in found)
    assert expected is None or [(p.value, p.exponent) for p in found] == expected


def test_a_square_times_a_prime_stays_one_composite_for_ecm() -> None:
    """p25^2 · p20 has too many digits for a survey; a divisor that ECM finds will split it."""
    n = examples.P25**2 * examples.P20

    assert survey.survey(n) == ((n, 1, Certainty.COMPOSITE),)


def test_fermats_method_finds_two_primes_close_together() -> None:
    """Even with 600 digits, as in a badly made key."""
    p = examples.next_prime(10**300)
    q = examples.next_prime(p)

    found = survey.survey(p * q)

    assert found == ((p, 1, Certainty.PROBABLE), (q, 1, Certainty.PROBABLE))


def test_a_prime_is_proven_up_to_the_limit_and_probable_beyond() -> None:
    """Primes of 100 digits are proven at once; larger ones get a unit of their own."""
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
def test_a_survey_of_a_thousand_digits_takes_seconds(n: int) -> None:
    """A survey is a short unit, whatever the number."""
    begun = time.process_time()

    found = survey.survey(n)

    assert time.process_time() - begun < SLOWEST_S
    verify.verify(n, found)


@pytest.mark.parametrize("n", [1, 0, -1, -15])
def test_numbers_below_two_are_refused(n: int) -> None:
    """They have no decomposition, as the error says."""
    with pytest.raises(ValueError, match="below 2"):
        survey.survey(n)


def test_trial_division_finds_every_prime_below_its_limit() -> None:
    """Exponents and cofactor are exact, for the smallest and the largest prime below the limit."""
    n = 2**10 * 3 * 999983**3 * 1000003

    assert trial.divide(n) == ([(2, 10), (3, 1), (999983, 3)], 1000003)
    assert trial.divide(n, limit=3) == ([(2, 10)], n >> 10)
