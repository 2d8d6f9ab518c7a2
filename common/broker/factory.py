"""Opens the broker that the settings name: RabbitMQ if its address is set, else the memory broker."""

import contextlib
from collections.abc import AsyncIterator

from common.broker import Broker
from common.broker.memory import MemoryBroker
from common.runtime.settings import Settings


@contextlib.asynccontextmanager
async def open_broker(settings: Settings) -> AsyncIterator[Broker]:
    """Yield the broker that the settings name, open; close it afterwards."""
    broker = _new_broker(settings)
    await broker.open()
    try:
        yield broker
    finally:
        await broker.close()


def _new_broker(settings: Settings) -> Broker:
    if not settings.amqp_url:
        return MemoryBroker()
    from common.broker.rabbit import RabbitBroker  # noqa: PLC0415 embedded mode starts without it

    return RabbitBroker(settings.amqp_url, name=settings.name or "factorline")
