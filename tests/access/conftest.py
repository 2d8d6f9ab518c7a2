"""Two gateways with keys on, over one store: keys and limits hold over both."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from common.broker.memory import MemoryBroker
from common.domain import KeyLimits, NewKey, new_key
from common.runtime.settings import Settings
from common.store.sqlite import SqliteStore
from gateway.app import create_app

Client = TestClient[web.Request, web.Application]
MakeKey = Callable[..., Awaitable[NewKey]]
SETTINGS = Settings(
    keys=True,
    proxies="127.0.0.1",
    max_key_sockets=3,
    max_key_subscriptions=5,
    origins="https://a.example",
)


@pytest.fixture
async def gateways(store: SqliteStore, broker: MemoryBroker) -> AsyncIterator[list[Client]]:
    """Yield clients of two running gateways."""
    apps = [create_app(SETTINGS, store=store, broker=broker) for _ in range(2)]
    async with TestClient(TestServer(apps[0])) as first, TestClient(TestServer(apps[1])) as second:
        yield [first, second]


@pytest.fixture
def client(gateways: list[Client]) -> Client:
    """Return a client of one of them."""
    return gateways[0]


@pytest.fixture
def make_key(store: SqliteStore) -> MakeKey:
    """Return what makes a key, as `factorline keys make` does."""

    async def make(
        name: str,
        *,
        operator: bool = False,
        read_only: bool = False,
        networks: tuple[str, ...] = (),
        expires_at: float | None = None,
        **limits: float,
    ) -> NewKey:
        made = new_key(
            name,
            operator=operator,
            read_only=read_only,
            networks=networks,
            expires_at=expires_at,
            limits=KeyLimits(**limits),  # type: ignore[arg-type]
            now=time.time(),
        )
        await store.insert_key(made.key)
        return made

    return make


def bearer(made: NewKey) -> dict[str, str]:
    """Return the header that carries a key."""
    return {"Authorization": f"Bearer {made.secret}"}
