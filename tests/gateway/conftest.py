"""A gateway over the embedded store and broker, without a worker, on a free port of loopback."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from common.broker.memory import MemoryBroker
from common.runtime.settings import Settings
from common.store.sqlite import SqliteStore
from gateway.app import create_app

type_of_client = TestClient[web.Request, web.Application]


@pytest.fixture
async def client(store: SqliteStore, broker: MemoryBroker) -> AsyncIterator[type_of_client]:
    """Yield a client of a running gateway."""
    app = create_app(Settings(max_batch=50), store=store, broker=broker)
    async with TestClient(TestServer(app)) as client:
        yield client
