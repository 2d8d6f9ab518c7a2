"""The broker port: work to competing workers, events to every gateway, control to every worker.

It has two sides: a memory broker for one process, and RabbitMQ through aio-pika. Both pass the same contract
suite (tests/contract).
"""

import enum
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from common.domain import Control, Event, Survey, Unit

DELIVERY_LIMIT = 10
"""How many deliveries of one message may fail before it is dead-lettered (RabbitMQ 3.x has no default)."""


class Queue(enum.StrEnum):
    """The queues that hold units."""

    SURVEY = "factor.survey"
    """Short units. They have slots of their own, so a small number never waits behind a big one."""
    WORK = "factor.work"
    DEAD = "factor.dead"
    """Messages that were rejected, or whose delivery failed too often."""


def queue_for(unit: Unit) -> Queue:
    """Return the queue that a unit belongs to."""
    return Queue.SURVEY if isinstance(unit.work, Survey) else Queue.WORK


class Delivery(Protocol):
    """A message that a consumer has received; exactly one of the three verbs settles it.

    A verb does nothing on a delivery whose channel is gone: the broker redelivers it anyway.
    """

    body: bytes
    headers: Mapping[str, str]
    """Sent along with the body: the context of a trace."""
    reason: str | None
    """Why it was dead-lettered (``rejected``, ``delivery_limit`` …); None elsewhere."""
    redelivered: bool
    """Whether another consumer may have had it before, and lost it half-way through."""

    async def ack(self) -> None:
        """Acknowledge it: it is done."""

    async def requeue(self) -> None:
        """Return it to its queue, for another consumer."""

    async def reject(self) -> None:
        """Dead-letter it: it cannot be processed."""


class Subscription(Protocol):
    """A running consumer."""

    async def cancel(self) -> None:
        """Stop new deliveries; those already received can still be settled. Calling it twice is harmless."""


class Broker(Protocol):
    """The same semantics on both sides. Methods raise `errors.BrokerUnavailable` if it does not answer."""

    async def open(self) -> None:
        """Connect and declare the topology.

        If RabbitMQ is down, it keeps trying in the background, and consumers that are requested meanwhile
        start once it is there.
        """

    async def close(self) -> None:
        """Release everything; unsettled messages return to their queues. Calling it twice is harmless."""

    @property
    def connected(self) -> bool:
        """Whether a publish would succeed now, as far as is known."""

    async def publish(self, units: Sequence[Unit]) -> None:
        """Return once every unit is confirmed: it is on as many disks as it will be."""

    async def tell(self, event: Event) -> None:
        """Send an event to every gateway. It is a hint and not confirmed."""

    async def control(self, message: Control) -> None:
        """Send a control message to every worker. It is a hint and not confirmed."""

    async def consume(
        self, queue: Queue, handler: Callable[[Delivery], Awaitable[None]], *, prefetch: int
    ) -> Subscription:
        """Call the handler for each message of a queue, for up to ``prefetch`` of them at once.

        The handler settles the delivery. If it raises, the error is logged, and the delivery is requeued
        and counts as failed.
        """

    async def subscribe_events(
        self, handler: Callable[[Event], Awaitable[None]], on_gap: Callable[[], Awaitable[None]]
    ) -> Subscription:
        """Call the handler for every event, and ``on_gap`` after each reconnect: some may have been lost."""

    async def subscribe_control(
        self, handler: Callable[[Control], Awaitable[None]], on_gap: Callable[[], Awaitable[None]]
    ) -> Subscription:
        """Do the same for control messages."""

    async def depth(self, queue: Queue) -> int:
        """Return how many messages of a queue wait for a consumer."""
