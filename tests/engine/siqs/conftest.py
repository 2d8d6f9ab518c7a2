"""Compiles the finishing side before its tests, so that none of them waits for the compiler."""

import pytest

from factor_worker.engine.siqs import filtering, linear_algebra


@pytest.fixture(autouse=True, scope="session")
def compiled() -> None:
    """Compile, or load from the cache."""
    filtering.warm()
    linear_algebra.warm()
