"""Looking at what this process counts, before and after."""

import contextlib
from collections.abc import AsyncIterator

from prometheus_client import REGISTRY

from tests import waiting


def value(name: str, **labels: str) -> float:
    """Return a sample's value, 0 if there is none yet."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


@contextlib.asynccontextmanager
async def moves(name: str, by: float = 1.0, **labels: str) -> AsyncIterator[None]:
    """Assert that a metric grows by as much while the body runs, or shortly after."""
    before = value(name, **labels)
    yield
    await waiting.until(
        lambda: value(name, **labels) >= before + by, f"{name}{labels} > {before}", seconds=60
    )
    assert before + by == value(name, **labels)
