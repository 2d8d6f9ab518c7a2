"""A whole service for the client's tests: one that is given, or the embedded mode as a process."""

import contextlib
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import gmpy2
import pytest
import pytest_asyncio

from factorline import Client
from infra.local.programs import Embedded
from tests import servers

GIVEN_URL = os.environ.get("FACTORLINE_TEST_URL")
"""A running service, for example a stack's, for every test that does not have to kill one."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Yield the URL of a service that all tests share; none may stop it."""
    if GIVEN_URL:
        yield GIVEN_URL.rstrip("/")
        return
    async with servers.embedded(tmp_path_factory.mktemp("service")) as service:
        yield service.url


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Embedded]:
    """Yield a service that belongs to the test, which may kill it."""
    async with servers.embedded(tmp_path) as service:
        yield service


@pytest.fixture
async def client(url: str) -> AsyncIterator[Client]:
    """Yield a client of the shared service."""
    async with Client(url) as client:
        yield client


@pytest.fixture
async def hard(url: str, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """Yield a number that takes far too long to factor; its tasks are cancelled afterwards."""
    number = hard_number(request.node.name)
    yield number
    async with Client(url) as client:
        with contextlib.suppress(StopAsyncIteration):
            async for task in client.list(newest=100):
                if task.number == number and not task.done:
                    await client.cancel(task.task_id)


def hard_number(seed: str) -> str:
    """Return the product of two primes of 90 digits, the same for the same seed."""
    chance = random.Random(seed)
    primes = [gmpy2.next_prime(chance.randrange(10**89, 10**90)) for _ in range(2)]
    return str(primes[0] * primes[1])
