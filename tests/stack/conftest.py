"""The whole installation as real processes, which a test may kill as it likes."""

import contextlib
from collections.abc import AsyncIterator

import aiohttp
import pytest

from common.store.mongo import MongoStore
from infra.local.stack import Stack
from tests.stack.client import Client


@pytest.fixture
async def store(stack: Stack) -> AsyncIterator[MongoStore]:
    """Yield a store of our own on the stack's server, to look behind the gateways."""
    store = MongoStore(stack.mongo.uri, name="test")
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[Client]:
    """Yield a client that goes through the balancer."""
    async with contextlib.AsyncExitStack() as exits:
        timeout = aiohttp.ClientTimeout(total=30)
        session = aiohttp.ClientSession(stack.url, timeout=timeout)
        yield Client(await exits.enter_async_context(session))
