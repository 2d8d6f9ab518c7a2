"""The broker port: work to competing workers, events to every gateway, control to every worker.

Two sides: a memory broker for one process, and RabbitMQ through aio-pika.
"""

import enum
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from common.domain import Control, Event, Survey, Unit

DELIVERY_LIMIT = 10
"""Deliveries of one message that may fail before it is dead-lettered (3.x has no default)."""


class Queue(enum.StrEnum):
    """The queues that hold units."""

    SURVEY = "factor.survey"
    """Short units; a slot of their own keeps a small number from waiting behind a big one."""
    WORK = "factor.work"
    DEAD = "factor.dead"
    """What was rejected or failed too often to be delivered."""


def queue_for(unit: Unit) -> Queue:
    """Return the queue that a unit belongs to."""
    return Queue.SURVEY if isinstance(unit.work, Survey) else Queue.WORK


class Delivery(Protocol):
    """A message in a consumer's hands; exactly one of the three verbs settles it.

    A verb on a delivery whose channel is gone does nothing: the broker redelivers by itself.
    """

    body: bytes
    headers: Mapping[str, str]
    """What travels beside the body: the context of a trace."""
    reason: str | None
    """Why it was dead-lettered (``rejected``, ``delivery_limit`` …); None elsewhere."""
    redelivered: bool
    """Whether it may have been in other hands before, which may have let go in the middle."""

    async def ack(self) -> None:
        """It is done with."""

    async def requeue(self) -> None:
        """Give it back for somebody else."""

    async def reject(self) -> None:
        """It cannot be worked on: dead-letter it."""


class Subscription(Protocol):
    """A running consumer."""

    async def cancel(self) -> None:
        """Stop new deliveries; what is in hand can still be settled. Twice is harmless."""


class Broker(Protocol):
    """Same semantics on both sides; `common.errors.BrokerUnavailable` when it does not answer."""

    async def open(self) -> None:
        """Connect and declare the topology.

        RabbitMQ may be down: it then goes on trying in the background, and the consumers that are
        asked for meanwhile start when it is there.
        """

    async def close(self) -> None:
        """Let go of every resource; what is unsettled goes back. Twice is harmless."""

    @property
    def connected(self) -> bool:
        """Whether a publish would go through now, as far as is known."""

    async def publish(self, units: Sequence[Unit]) -> None:
        """Return when every unit is confirmed: it is on as many disks as it will be."""

    async def tell(self, event: Event) -> None:
        """Tell every gateway; a hint, not confirmed."""

    async def control(self, message: Control) -> None:
        """Tell every worker; a hint, not confirmed."""

    async def consume(
        self, queue: Queue, handler: Callable[[Delivery], Awaitable[None]], *, prefetch: int
    ) -> Subscription:
        """Call the handler for each message, up to ``prefetch`` of them at once.

        The handler settles the delivery; if it raises, the error is logged and the delivery is requeued
        as a failed one.
        """

    async def subscribe_events(
        self, handler: Callable[[Event], Awaitable[None]], on_gap: Callable[[], Awaitable[None]]
    ) -> Subscription:
        """Call the handler for every event; ``on_gap`` after each reconnect, when some may be lost."""

    async def subscribe_control(
        self, handler: Callable[[Control], Awaitable[None]], on_gap: Callable[[], Awaitable[None]]
    ) -> Subscription:
        """The same for control messages."""

    async def depth(self, queue: Queue) -> int:
        """Return how many messages of a queue wait for a consumer."""
