"""Which broker a program works with: only the memory broker is there so far."""

import contextlib
from collections.abc import AsyncIterator

from common import errors
from common.broker import Broker
from common.broker.memory import MemoryBroker
from common.settings import Settings


@contextlib.asynccontextmanager
async def open_broker(settings: Settings) -> AsyncIterator[Broker]:
    """Yield the open broker that the settings name; close it afterwards."""
    if settings.amqp_url:
        raise errors.SettingError(
            name="FACTORLINE_AMQP_URL",
            value="…",
            why="this version has no RabbitMQ side yet: unset it and use `make run`",
        )
    broker = MemoryBroker()
    await broker.open()
    try:
        yield broker
    finally:
        await broker.close()
