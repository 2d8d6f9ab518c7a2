"""The short rows of the laboratory, in one installation; `make chaos` runs all of them."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from infra.local.processes import NotInstalled
from tests.chaos import row as rows
from tests.chaos.all_rows import ROWS
from tests.chaos.laboratory import Laboratory

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def laboratory(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Laboratory]:
    """Yield the laboratory that all rows share."""
    try:
        laboratory = Laboratory(tmp_path_factory.mktemp("chaos"))
    except NotInstalled as error:
        pytest.skip(f"stack: {error}")
    async with laboratory:
        await laboratory.warm()
        yield laboratory


@pytest.mark.parametrize("name", [row.name for row in ROWS.values() if row.short])
async def test_nothing_is_lost(laboratory: Laboratory, name: str) -> None:
    """The fault happens, the service recovers, and every invariant holds."""
    await rows.run(laboratory, ROWS[name], timed=False)
