"""RabbitMQ's queues and exchanges as typed values, and their declaration: the one place that names them.

Everything here means the same to RabbitMQ 3.10 and 4.x.
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
"""Hints that wait for one reader; the oldest go first, as everybody looks again now and then."""

_DEAD_DELIVERY_LIMIT: Final = 1_000_000
"""Practically none: a dead letter that is dropped would be a unit that is lost."""


@dataclass(frozen=True, slots=True)
class QuorumQueue:
    """A durable queue that survives the loss of a node and of power."""

    name: str
    delivery_limit: int
    """Failed deliveries of one message after which it is dead-lettered (3.x has no default)."""
    dead_letter: str | None = None
    """The queue that dead letters go to, at least once."""

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
                "x-overflow": "reject-publish",  # which at-least-once insists on
            }
        return arguments


QUEUES: Final = (
    QuorumQueue(Queue.DEAD.value, _DEAD_DELIVERY_LIMIT),
    QuorumQueue(Queue.SURVEY.value, DELIVERY_LIMIT, Queue.DEAD.value),
    QuorumQueue(Queue.WORK.value, DELIVERY_LIMIT, Queue.DEAD.value),
)
EXCHANGES: Final = {EVENTS: "topic", CONTROL: "fanout"}


async def declare(connection: AbstractConnection) -> None:
    """Make sure that the topology is there; who may not make it checks that somebody else has.

    To check, a user needs some permission on each of them, whichever (RabbitMQ 4.3; before, none).

    Raises:
        aio_pika.exceptions.ChannelClosed: It differs from what is there, or is missing.

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
    """Return a new queue of this connection's own that receives everything of an exchange."""
    queue = await channel.declare_queue(
        exclusive=True, auto_delete=True, arguments={"x-max-length": HINTS_KEPT}
    )
    await queue.bind(exchange, routing_key="#")
    return queue
