"""The whole installation as real processes, which a test may kill as it likes."""

import contextlib
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from common.store.mongo import MongoStore
from infra.local.processes import NotInstalled
from infra.local.stack import Stack
from tests.stack.client import Client


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Yield the stack behind `stack`: two gateways, two workers of one slot."""
    try:
        stack = Stack(tmp_path_factory.mktemp("stack"))
    except NotInstalled as error:
        pytest.skip(f"stack: {error}")
    async with stack:
        yield stack


@pytest.fixture
async def stack(shared_stack: Stack) -> Stack:
    """Return the stack with every process running, whatever the test before did to it."""
    for process in (*shared_stack.servers, *shared_stack.programs):
        await process.start()
    return shared_stack


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
