"""RabbitMQ's queues and exchanges as typed values, and their declaration. Only this module names them.

Everything here means the same in RabbitMQ 3.10 and 4.x.
"""

from dataclasses import dataclass
from typing import Final

from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractQueue
from aiormq.exceptions import ChannelAccessRefused
from pamqp.common import FieldTable

from common.broker import DELIVERY_LIMIT, Queue

EVENTS: Final = "factor.events"
"""Topic exchange; the routing key is the digest of the number."""
CONTROL: Final = "factor.control"
"""Fanout exchange to every worker."""
HINTS_KEPT: Final = 10_000
"""Hints that are kept for one reader. The oldest are dropped first: all readers re-read now and then."""

_DEAD_DELIVERY_LIMIT: Final = 1_000_000
"""Practically no limit: a dead letter that is dropped would be a lost unit."""


@dataclass(frozen=True, slots=True)
class QuorumQueue:
    """A durable, replicated queue: it survives the loss of a node and a power failure."""

    name: str
    delivery_limit: int
    """How many deliveries of one message may fail before it is dead-lettered (3.x has no default)."""
    dead_letter: str | None = None
    """The queue that dead letters go to, delivered at least once."""

    @property
    def arguments(self) -> FieldTable:
        """The optional arguments of its declaration."""
        arguments: FieldTable = {
            "x-queue-type": "quorum",
            "x-delivery-limit": self.delivery_limit,
        }
        if self.dead_letter is not None:
            arguments |= {
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": self.dead_letter,
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",  # required by at-least-once
            }
        return arguments


QUEUES: Final = (
    QuorumQueue(Queue.DEAD.value, _DEAD_DELIVERY_LIMIT),
    QuorumQueue(Queue.SURVEY.value, DELIVERY_LIMIT, Queue.DEAD.value),
    QuorumQueue(Queue.WORK.value, DELIVERY_LIMIT, Queue.DEAD.value),
)
EXCHANGES: Final = {EVENTS: "topic", CONTROL: "fanout"}


async def declare(connection: AbstractConnection) -> None:
    """Declare the topology; a user who may not do that checks that somebody else has.

    The check needs any one permission on each queue and exchange (since RabbitMQ 4.3; before that, none).

    Raises:
        aio_pika.exceptions.ChannelClosed: Something is missing, or differs from its declaration.

    """
    try:
        await _declare(connection, passive=False)
    except ChannelAccessRefused:
        await _declare(connection, passive=True)


async def _declare(connection: AbstractConnection, *, passive: bool) -> None:
    async with connection.channel() as channel:
        for queue in QUEUES:
            await channel.declare_queue(
                queue.name,
                durable=True,
                passive=passive,
                arguments=None if passive else queue.arguments,
            )
        for name, kind in EXCHANGES.items():
            await channel.declare_exchange(name, kind, durable=True, passive=passive)


async def declare_hints(channel: AbstractChannel, exchange: str) -> AbstractQueue:
    """Return a new queue, exclusive to this connection, that receives everything sent to an exchange."""
    queue = await channel.declare_queue(
        exclusive=True, auto_delete=True, arguments={"x-max-length": HINTS_KEPT}
    )
    await queue.bind(exchange, routing_key="#")
    return queue
