"""Both implementations of each port, empty: a test that passes against one must pass against the other."""

import contextlib
import secrets
from collections.abc import AsyncIterator

import aio_pika
import pytest
from motor.motor_asyncio import AsyncIOMotorClient

from common.broker import Broker
from common.broker.rabbit import RabbitBroker, topology
from common.store import Store
from common.store.mongo import MongoStore


@contextlib.asynccontextmanager
async def opened_mongo(uri: str) -> AsyncIterator[MongoStore]:
    """Yield an open store on a database of its own, which is dropped afterwards."""
    name = f"t{secrets.token_hex(4)}"
    address, _, options = uri.partition("?")
    base = "/".join(address.split("/")[:3])
    store = MongoStore(f"{base}/{name}?{options}")
    await store.open()
    try:
        yield store
    finally:
        await store.close()
        client: AsyncIOMotorClient[dict[str, object]] = AsyncIOMotorClient(uri)
        await client.drop_database(name)
        client.close()


@pytest.fixture
async def mongo_store(mongodb_uri: str) -> AsyncIterator[Store]:
    """Yield an empty MongoDB store."""
    async with opened_mongo(mongodb_uri) as store:
        yield store


@pytest.fixture(params=["sqlite_store", "mongo_store"])
def store(request: pytest.FixtureRequest) -> Store:
    """Return an empty store: SQLite's, then MongoDB's."""
    store: Store = request.getfixturevalue(request.param)
    return store


@pytest.fixture
async def rabbit_broker(amqp_url: str) -> AsyncIterator[Broker]:
    """Yield an open broker with new queues."""
    async with await aio_pika.connect(amqp_url) as connection, connection.channel() as channel:
        for queue in topology.QUEUES:
            await channel.queue_delete(queue.name)
    broker = RabbitBroker(amqp_url, name="contract")
    await broker.open()
    yield broker
    await broker.close()


@pytest.fixture(params=["memory_broker", "rabbit_broker"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Return an open, empty broker: the one in memory, then RabbitMQ's."""
    broker: Broker = request.getfixturevalue(request.param)
    return broker
