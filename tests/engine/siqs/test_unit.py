"""Sieve units find nearly all relations, and the same ones however the range is split."""

import gmpy2
import numpy as np
import pytest

from factor_worker.engine.siqs.polynomials import factor_base, parameters, polynomials
from factor_worker.engine.siqs.polynomials.parameters import BLOCK, Parameters
from factor_worker.engine.siqs.relations import codec
from factor_worker.engine.siqs.relations.codec import Coordinates
from factor_worker.engine.siqs.sieve import unit
from tests.engine import examples

SMALL = examples.next_prime(10**12 + 5) * examples.next_prime(7 * 10**12)
N = examples.P20 * examples.P25
DOUBLE = parameters.choose(N)._replace(cofactor_bound=10**11)
"""With two large primes, which numbers of this size do not need."""


def relations(found: Coordinates) -> list[tuple[object, ...]]:
    """Return relations as comparable values, each with its a-index."""
    indices = np.repeat(found.a_indices, found.relation_counts).tolist()
    factors = np.split(found.factors, np.cumsum(found.factor_counts)[:-1])
    return list(
        zip(
            indices,
            found.polynomials.tolist(),
            found.positions.tolist(),
            [tuple(one.tolist()) for one in factors],
            [tuple(pair) for pair in found.large_primes.tolist()],
            strict=True,
        )
    )


@pytest.mark.parametrize("chosen", [parameters.choose(N), DOUBLE])
def test_any_split_gives_the_same_relations(chosen: Parameters) -> None:
    """The range of a-indices may be cut anywhere."""
    whole = codec.decode(unit.sieve(N, chosen, 3, 5).data)
    parts = [codec.decode(unit.sieve(N, chosen, *part).data) for part in ((3, 1), (4, 3), (7, 1))]

    assert relations(whole) == [one for part in parts for one in relations(part)]
    assert len(set(relations(whole))) == len(whole.polynomials) > 100


def smooth(n: int, chosen: Parameters, index: int, number: int) -> set[int]:
    """Return the positions of all relations of one polynomial, by trial division of every value."""
    found = polynomials.family(n, chosen, index)
    base = factor_base.primes(n, chosen)
    a, b, kn = found.a, found.b_of(number), n * chosen.multiplier
    values = [
        abs(((2 * a * x + b) ** 2 - kn) // (4 * a))
        for x in range(-chosen.half_interval, chosen.half_interval)
    ]
    rest = np.array(values, dtype=np.int64)
    for prime in base[1:]:
        while len(hits := np.flatnonzero(rest % prime == 0)):
            rest[hits] //= prime
    good = rest <= chosen.large_bound
    for position in np.flatnonzero((rest > base[-1] ** 2) & (rest <= chosen.cofactor_bound)):
        good[position] = _is_split(int(rest[position]), base[-1], chosen.large_bound)
    return set(np.flatnonzero(good).tolist())


def _is_split(rest: int, smallest: int, largest: int) -> bool:
    """Return whether a number is a product of two primes in a range."""
    return not gmpy2.is_prime(rest) and any(
        rest % p == 0 and rest // p <= largest for p in range(smallest, largest + 1)
    )


@pytest.mark.parametrize("cofactor_bound", [0, 10**8])
def test_nearly_all_relations_are_found(cofactor_bound: int) -> None:
    """Rounded logarithms and skipped primes lose a tenth at most."""
    chosen = parameters.choose(SMALL)._replace(cofactor_bound=cofactor_bound, slack=24)
    found = codec.decode(unit.sieve(SMALL, chosen, 2, 1).data)
    size = polynomials.family(SMALL, chosen, 2).size
    there = {(number, at) for number in range(size) for at in smooth(SMALL, chosen, 2, number)}
    ours = set(zip(found.polynomials.tolist(), found.positions.tolist(), strict=True))

    assert ours <= there
    assert len(ours) >= 0.9 * len(there) > 30


def test_primes_above_a_block_and_above_the_interval_are_found() -> None:
    """They are sieved differently from smaller ones."""
    chosen = parameters.choose(N)._replace(size=8000, blocks=2)
    found = codec.decode(unit.sieve(N, chosen, 0, 2).data)
    base = np.array(factor_base.primes(N, chosen))
    largest = base[
        np.maximum.reduceat(found.factors, np.cumsum(found.factor_counts) - found.factor_counts)
    ]

    assert max(base) > 2 * chosen.blocks * BLOCK
    assert np.mean(largest > BLOCK) > 0.2
    assert np.mean(largest > chosen.blocks * BLOCK) > 0.1


def test_a_buffer_that_is_too_small_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It grows, and the candidates of the polynomial that did not fit are examined again."""
    plenty = unit.sieve(N, DOUBLE, 0, 2)
    unit._siever.cache_clear()  # noqa: SLF001 the next one starts with another buffer
    monkeypatch.setattr(unit, "INITIAL_ROOM", 1)
    scarce = unit.sieve(N, DOUBLE, 0, 2)
    unit._siever.cache_clear()  # noqa: SLF001

    assert plenty == scarce


def test_a_unit_without_time_sieves_one_a() -> None:
    """So that every unit makes progress."""
    batch = unit.sieve(N, parameters.choose(N), 0, 50, seconds=0)

    assert 1 == batch.done


def test_a_unit_that_is_stopped_ends_in_the_middle_of_an_a(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It leaves nothing behind that would disturb the next unit."""
    monkeypatch.setattr(unit, "POLYNOMIALS_PER_CHECK", 2)
    before = unit.sieve(N, DOUBLE, 0, 2)
    looks = iter([False, True])
    stopped = unit.sieve(N, DOUBLE, 0, 2, stopped=lambda: next(looks))

    assert (0, 0, 0) == stopped[:3]
    assert before == unit.sieve(N, DOUBLE, 0, 2)


def test_counts_are_those_of_the_data() -> None:
    """Every relation is either full or partial."""
    batch = unit.sieve(N, DOUBLE, 0, 3)
    large = codec.decode(batch.data).large_primes

    assert 3 == batch.done
    assert int((large[:, 1] == 1).sum()) == batch.full
    assert len(large) == batch.full + batch.partial
    assert int((large[:, 0] > 1).sum()) > 0


def test_an_a_index_out_of_range_is_refused() -> None:
    """Wrapping around would repeat a's."""
    chosen = parameters.choose(SMALL)

    with pytest.raises(IndexError):
        unit.sieve(SMALL, chosen, polynomials.a_count(SMALL, chosen), 1)
