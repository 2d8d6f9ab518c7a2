"""Compiles the solving kernels before the tests: with a cold cache that takes longer than a test may."""

from pathlib import Path

import pytest

from factor_worker.engine.siqs.solve import filtering, linear_algebra


def pytest_collection_finish(session: pytest.Session) -> None:
    """Compile the kernels or load them from the cache, if a test of this folder is going to run."""
    if any(Path(__file__).parent in item.path.parents for item in session.items):
        filtering.warm()
        linear_algebra.warm()
