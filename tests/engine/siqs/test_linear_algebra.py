"""Dense elimination, block Lanczos and both after merging find sets of rows that sum to zero."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factor_worker.engine.siqs.solve import dense, lanczos, linear_algebra
from factor_worker.engine.siqs.solve.sparse import Rows
from factor_worker.engine.siqs.words.arrays import Words
from tests.engine.siqs import gf2

COLUMNS = 150


def by_lanczos(rows: Rows, columns: int) -> Words:
    """Solve by block Lanczos, without reports."""
    return lanczos.dependencies(rows, columns, seed=1, report=lambda _done, _of: None)


def by_both(rows: Rows, columns: int) -> Words:
    """Merge, then solve by the faster method, without reports."""
    return linear_algebra.dependencies(rows, columns, lambda _rows, _done, _of: None)


@settings(deadline=None)
@given(st.integers(0, 220), st.integers(1, COLUMNS), st.floats(0, 20), st.integers(0, 99))
def test_dense_elimination_finds_a_basis_of_the_kernel(
    count: int, columns: int, weight: float, seed: int
) -> None:
    """Up to 64 independent combinations, each of which sums to zero."""
    rows = gf2.random_rows(count, columns, weight, seed)
    numbers = gf2.as_numbers(rows)

    found = gf2.combinations(dense.dependencies(rows, columns))

    assert min(64, count - gf2.rank(numbers)) == len(found) == gf2.rank(found)
    assert [0] * len(found) == [gf2.total(numbers, combination) for combination in found]


@pytest.mark.parametrize("solver", [dense.dependencies, by_lanczos, by_both])
@pytest.mark.parametrize(("columns", "weight"), [(1_000, 15.0), (2_500, 40.0), (6_000, 30.0)])
def test_every_method_finds_about_64_independent_dependencies(
    solver: Callable[[Rows, int], Words], columns: int, weight: float
) -> None:
    """In matrices shaped like those of a sieve, with 64 rows more than columns."""
    rows = gf2.random_rows(columns + 64, columns, weight, seed=columns)
    numbers = gf2.as_numbers(rows)

    found = gf2.combinations(solver(rows, columns))

    assert [0] * len(found) == [gf2.total(numbers, combination) for combination in found]
    assert 50 < len(found) == gf2.rank(found)


def test_dense_and_lanczos_agree() -> None:
    """Where there are few dependencies, both find vectors of the same null space."""
    rows = gf2.random_rows(1_000 + 40, 1_000, 60.0, seed=3)
    numbers = gf2.as_numbers(rows)
    kernel = gf2.combinations(dense.dependencies(rows, 1_000))

    found = gf2.combinations(by_lanczos(rows, 1_000))

    assert len(kernel) == rows.height - gf2.rank(numbers)
    assert len(kernel) == gf2.rank([*kernel, *found])
    assert len(found) > len(kernel) // 2


def test_another_seed_is_tried_when_lanczos_breaks_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breakdowns are normal, and do not fail the number."""
    rows = gf2.random_rows(400, 300, 20.0, seed=7)  # on which the third seed succeeds
    seeds = []
    solve = lanczos.dependencies

    def break_down_first(*args: Rows, seed: int, report: lanczos.Report) -> Words:
        seeds.append(seed)
        if len(seeds) < 3:
            raise lanczos.Breakdown
        return solve(*args, seed=seed, report=report)  # type: ignore[arg-type]

    monkeypatch.setattr(linear_algebra, "DENSE_ROWS", 0)
    monkeypatch.setattr(lanczos, "dependencies", break_down_first)

    assert gf2.combinations(by_both(rows, 300))
    assert 3 == len(seeds) == len(set(seeds))


def test_independent_rows_have_no_dependencies() -> None:
    """Then there are none in the result."""
    rows = gf2.rows_of([[0], [1], [0, 1, 2]])

    assert 0 == linear_algebra.count(by_both(rows, 3))


def test_each_empty_row_is_a_dependency() -> None:
    """A relation-set that is a square by itself is a dependency of one row."""
    words = by_both(gf2.rows_of([[], [0], []]), 1)

    assert [[0], [2]] == sorted(rows.tolist() for rows in linear_algebra.members(words))


def test_lanczos_reports_its_progress() -> None:
    """Progress rises steadily, nearly to the end."""
    rows = gf2.random_rows(1_264, 1_200, 40.0, seed=5)
    heard: list[tuple[int, int]] = []

    lanczos.dependencies(rows, 1_200, seed=1, report=lambda done, of: heard.append((done, of)))

    assert heard == sorted(heard)
    assert {rows.height} == {of for _done, of in heard}
    assert heard[-1][0] > 0.9 * rows.height
    assert np.all(np.diff([done for done, _of in heard]) <= 64)
