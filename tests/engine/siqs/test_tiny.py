"""The tiny sieve splits every number of its size, and each of its relations holds."""

import math
import random

import numpy as np
import pytest

from factor_worker.engine.siqs.polynomials import parameters
from factor_worker.engine.siqs.tiny import kernel, tiny
from factor_worker.engine.siqs.tiny.kernel import KN_WORDS, RelationBuffer
from factor_worker.engine.siqs.words.arithmetic import to_limbs
from tests.engine import examples


def semiprime(bits: int, rng: random.Random) -> int:
    """Return a product of two different primes with exactly so many bits."""
    while True:
        lower = bits // 2
        p, q = (
            examples.next_prime(rng.randrange(1 << (size - 1), 1 << size))
            for size in (lower, bits - lower)
        )
        if (p * q).bit_length() == bits and p != q:
            return p * q


def sieved(n: int) -> tuple[list[int], RelationBuffer]:
    """Return the factor base and the relations of a number."""
    multiplier = parameters.multiplier(n)
    base, chosen = tiny.prepare(n, multiplier)
    found = kernel.collect_relations(to_limbs(n * multiplier, KN_WORDS), base, chosen)
    assert found.counts[2] >= chosen.size + kernel.EXCESS
    return [-1, *base.primes.tolist()[1:]], found


@pytest.mark.parametrize("bits", range(tiny.SMALLEST_BITS, tiny.LARGEST_BITS + 1))
def test_semiprimes_of_every_size(bits: int) -> None:
    """From the smallest to the largest, a bit at a time."""
    n = semiprime(bits, random.Random(bits))

    p, q = tiny.factor(n)

    assert p * q == n


def test_hundreds_of_numbers_are_all_split() -> None:
    """With 12 dependencies or more, all of them are trivial for very few numbers."""
    rng = random.Random(7)
    numbers = [semiprime(rng.randrange(62, 110), rng) for _ in range(500)]

    assert [n for n in numbers if math.prod(tiny.factor(n)) != n] == []


@pytest.mark.parametrize("bits", [60, 64, 80, 100, 120, 144])
def test_each_relation_holds(bits: int) -> None:
    """X² is congruent to the product of its factors and its large prime, modulo n."""
    n = semiprime(bits, random.Random(100 + bits))
    primes, found = sieved(n)

    start = 0
    for relation in range(found.counts[0]):
        stop = int(found.ends[relation])
        low, high = found.x[relation].tolist()
        factors = [primes[index] for index in found.factors[start:stop]]
        right = math.prod(factors) * int(found.large_primes[relation])
        assert ((low | high << 64) ** 2 - right) % n == 0
        start = stop


@pytest.mark.parametrize("bits", [60, 80, 100, 144])
def test_in_each_row_large_primes_cancel(bits: int) -> None:
    """A row is one full relation, or two with the same large prime; and no X occurs twice."""
    n = semiprime(bits, random.Random(200 + bits))
    _primes, found = sieved(n)

    rows = found.rows[: found.counts[2]].tolist()
    for first, second in rows:
        if second < 0:
            assert found.large_primes[first] == 1
        else:
            assert found.large_primes[first] == found.large_primes[second] > 1
            assert found.x[first].tolist() != found.x[second].tolist()
    alone = [tuple(found.x[first].tolist()) for first, second in rows if second < 0]
    assert len(alone) == len(set(alone))


def test_rows_have_the_factors_of_their_relations() -> None:
    """With multiplicity."""
    _primes, found = sieved(semiprime(90, random.Random(3)))
    ends = [0, *found.ends.tolist()]

    rows = kernel.row_factors(found)

    assert rows.height == found.counts[2]
    for row, pair in enumerate(found.rows[: rows.height].tolist()):
        parts = [found.factors[ends[one] : ends[one + 1]] for one in pair if one >= 0]
        assert rows.row(row).tolist() == np.concatenate(parts).tolist()


def test_three_primes_give_two_divisors() -> None:
    """The caller splits the composite one."""
    primes = [10**12 + 39, 10**12 + 61, 10**12 + 63]
    divisors = tiny.factor(math.prod(primes))

    assert len(divisors) == 2
    assert math.prod(divisors) == math.prod(primes)


@pytest.mark.parametrize("small", [3, 5, 7, 13, 1009, 65537])
def test_a_small_factor_that_was_left_in(small: int) -> None:
    """It may divide the multiplier, or be a prime of the factor base."""
    n = small * (10**24 + 7)
    divisors = tiny.factor(n)

    assert all(1 < divisor < n and n % divisor == 0 for divisor in divisors)
    assert math.prod(divisors) % n == 0


@pytest.mark.parametrize("n", [10**24 + 7, (10**8 + 7) ** 3], ids=["prime", "cube"])
def test_primes_and_powers_give_no_false_divisors(n: int) -> None:
    """Neither has two coprime divisors above 1."""
    assert tiny.factor(n) in {(), (10**8 + 7, (10**8 + 7) ** 2)}


def test_the_same_number_gives_the_same_divisors() -> None:
    """The a-coefficients are drawn from a fixed seed."""
    n = (10**12 + 39) * (10**12 + 61) * (10**12 + 63)

    assert tiny.factor(n) == tiny.factor(n)


@pytest.mark.parametrize(
    "n", [(1 << 59) - 1, (1 << 145) + 1, (1 << 80) + 2, (10**12 + 39) ** 2], ids=str
)
def test_other_numbers_are_refused(n: int) -> None:
    """The message says what is accepted."""
    with pytest.raises(ValueError, match="odd numbers of 60 to 144 bits that are no squares"):
        tiny.factor(n)
