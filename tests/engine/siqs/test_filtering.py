"""Partial relations combine to sets in which every large prime occurs an even number of times."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from factor_worker.engine.siqs.solve import filtering
from factor_worker.engine.siqs.words.arithmetic import to_limbs
from factor_worker.engine.siqs.words.arrays import Limbs
from tests.engine.siqs import gf2

PRIMES = [101, 103, 107, 109, 113, 127, 131]
pairs = st.tuples(st.sampled_from([1, *PRIMES]), st.sampled_from([1, *PRIMES])).map(sorted)
relations = st.lists(pairs, max_size=30).map(
    lambda found: np.array(found, np.uint64).reshape(-1, 2)
)


def large_prime_vectors(large: Limbs) -> list[int]:
    """Return for each relation the parities of its large primes."""
    return [
        sum(
            1 << PRIMES.index(prime)
            for prime, times in Counter(pair).items()
            if prime > 1 and times == 1
        )
        for pair in large.tolist()
    ]


@settings(deadline=None)
@given(relations)
def test_the_usable_count_is_the_nullity_of_the_large_primes(
    large: Limbs,
) -> None:
    """Counting edges and components agrees with elimination on the large primes' parities."""
    expected = len(large) - gf2.rank(large_prime_vectors(large))

    assert expected == filtering.count_usable(filtering.graph(large))


@settings(deadline=None)
@given(relations)
def test_sets_are_independent_and_have_even_large_primes(
    large: Limbs,
) -> None:
    """All sets together are a basis of the relations that cancel the large primes."""
    sets = filtering.relation_sets(filtering.graph(large), limit=100)
    vectors = large_prime_vectors(large)

    members = gf2.as_numbers(sets)

    assert [0] * sets.height == [gf2.total(vectors, combination) for combination in members]
    assert filtering.count_usable(filtering.graph(large)) == sets.height == gf2.rank(members)


@settings(deadline=None)
@given(relations, st.integers(0, 5))
def test_a_limit_keeps_the_shortest_sets(large: Limbs, limit: int) -> None:
    """If fewer sets are wanted than there are."""
    lengths = sorted(filtering.relation_sets(filtering.graph(large), limit=100).lengths.tolist())

    assert (
        lengths[:limit] == filtering.relation_sets(filtering.graph(large), limit).lengths.tolist()
    )


def test_duplicates_do_not_count() -> None:
    """A relation found twice counts once."""
    x = np.stack([to_limbs(value, 2) for value in (10**30, 7, 10**30, 12, 7)])
    large = np.array([[1, 101], [1, 1], [1, 101], [1, 101], [1, 1]], dtype=np.uint64)

    hashes = filtering.hashes(x)

    assert [0, 1, 3] == filtering.distinct(hashes).tolist()
    assert 4 == filtering.count_usable(filtering.graph(large))
    assert 2 == filtering.count_usable(filtering.graph(large[filtering.distinct(hashes)]))


def test_relations_outside_every_set_are_left_behind() -> None:
    """Singletons never reach the matrix; the sets are renumbered to match what is left."""
    large = np.array([[1, 101], [1, 103], [107, 109], [1, 103], [1, 1]], dtype=np.uint64)
    sets = filtering.relation_sets(filtering.graph(large), limit=100)

    occurring, renumbered = filtering.used(sets, len(large))

    assert [1, 3, 4] == occurring.tolist()
    assert [[2], [0, 1]] == [renumbered.row(index).tolist() for index in range(2)]


def test_relations_in_two_chosen_sets_cancel() -> None:
    """A dependency has each relation once or not at all."""
    sets = gf2.rows_of([[0, 1, 2], [1, 2, 3], [5]])

    assert [0, 3] == filtering.members(sets, np.array([0, 1])).tolist()
