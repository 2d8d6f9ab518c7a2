"""Slots for the tests of a worker."""

from collections.abc import AsyncIterator

import pytest

from factor_worker.slots.pool import Pool
from factor_worker.slots.slot import Slot
from tests.worker.children import GENEROUS


@pytest.fixture
async def slot() -> AsyncIterator[Slot]:
    """Yield a slot with a child and generous limits."""
    slot = Slot(GENEROUS)
    await slot.start()
    yield slot
    await slot.close()


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    """Yield a pool of one slot, which short pieces of work share."""
    pool = Pool(1, GENEROUS)
    await pool.start()
    yield pool
    await pool.close()
