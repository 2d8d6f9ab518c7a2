"""The merged matrix is smaller, and its dependencies are those of the original one."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from factor_worker.engine.siqs.solve import dense, merging
from factor_worker.engine.siqs.solve.sparse import Rows
from tests.engine.siqs import gf2

COLUMNS = 24
matrices = st.lists(st.sets(st.integers(0, COLUMNS - 1), max_size=6).map(sorted), max_size=40).map(
    gf2.rows_of
)


@settings(deadline=None)
@given(matrices)
def test_merging_keeps_every_dependency(rows: Rows) -> None:
    """There are as many independent dependencies as before."""
    merged = merging.merge(rows, COLUMNS)

    before = rows.height - gf2.rank(gf2.as_numbers(rows))

    assert before == merged.rows.height - gf2.rank(gf2.as_numbers(merged.rows))


@settings(deadline=None)
@given(matrices)
def test_dependencies_of_the_merged_matrix_are_dependencies_of_the_original(rows: Rows) -> None:
    """Expanded to original rows they sum to zero and are independent."""
    merged = merging.merge(rows, COLUMNS)
    vectors = dense.dependencies(merged.rows, COLUMNS)

    expanded = gf2.combinations(merged.expand(vectors))

    numbers = gf2.as_numbers(rows)
    assert [0] * len(expanded) == [gf2.total(numbers, combination) for combination in expanded]
    assert len(gf2.combinations(vectors)) == len(expanded) == gf2.rank(expanded)


def test_merged_rows_are_sums_of_original_rows() -> None:
    """Each row is the sum that the recorded additions say it is."""
    rows = gf2.random_rows(600, 500, 12.0, seed=1)
    merged = merging.merge(rows, 500)
    numbers = gf2.as_numbers(rows)

    for index, number in enumerate(gf2.as_numbers(merged.rows)):
        chosen = np.zeros(merged.rows.height, dtype=np.uint64)
        chosen[index] = 1
        (combination,) = gf2.combinations(merged.expand(chosen))
        assert number == gf2.total(numbers, combination)


def test_merging_makes_a_sparse_matrix_much_smaller() -> None:
    """A matrix from a sieve has many columns with few entries."""
    rows = gf2.random_rows(4_400, 4_000, 10.0, seed=2)

    assert merging.merge(rows, 4_000).rows.height < 4 * 600
