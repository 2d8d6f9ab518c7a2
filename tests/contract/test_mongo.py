"""What only a server can do: it has a clock of its own, and answers that are neither yes nor no."""

import time

import pytest

from tests.contract.conftest import opened_mongo


async def test_machines_whose_clocks_differ_have_the_same_time(
    mongodb_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the server's, and it is also what a machine's clock says if nobody has set it wrong."""
    true = time.time
    async with opened_mongo(mongodb_uri) as right:
        monkeypatch.setattr(time, "time", lambda: true() + 3600)
        async with opened_mongo(mongodb_uri) as hour_ahead:
            assert hour_ahead.now() == pytest.approx(right.now(), abs=1)
            assert hour_ahead.now() == pytest.approx(true(), abs=1)
