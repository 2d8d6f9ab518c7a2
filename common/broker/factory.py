"""Which broker a program works with: RabbitMQ if its address is set, else the memory broker."""

import contextlib
import os
import platform
from collections.abc import AsyncIterator

from common.broker import Broker
from common.broker.memory import MemoryBroker
from common.settings import Settings


@contextlib.asynccontextmanager
async def open_broker(settings: Settings, *, role: str = "worker") -> AsyncIterator[Broker]:
    """Yield the open broker that the settings name; close it afterwards."""
    broker = _choose(settings, role)
    await broker.open()
    try:
        yield broker
    finally:
        await broker.close()


def _choose(settings: Settings, role: str) -> Broker:
    if not settings.amqp_url:
        return MemoryBroker()
    from common.broker.rabbit import RabbitBroker  # noqa: PLC0415 embedded mode needs no aio-pika

    name = settings.name or f"{role}@{platform.node()}:{os.getpid()}"
    return RabbitBroker(settings.amqp_url, name=name)
