"""Consumers on RabbitMQ, each of which survives the loss of its connection, channel or queue."""

import abc
import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

import structlog
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from common import errors
from common.broker import Delivery, Queue
from common.broker.rabbit import topology
from common.broker.rabbit.connection import FAILURES, Link, deaths_as_failures, reconnecting
from common.domain import Control, Event

log = structlog.stdlib.get_logger(__name__)

Hint = TypeVar("Hint", Event, Control)

SET_UP_SECONDS = 10.0
CANCEL_SECONDS = 3.0


class _Consumer(abc.ABC):
    """Consumes on a channel of its own, and on a new one whenever that is lost."""

    def __init__(self, link: Link, tag: str) -> None:
        self._link = link
        self._tag = tag
        self._queue: AbstractQueue | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.started = asyncio.Event()
        """Set once it has begun to consume for the first time."""

    def start(self) -> None:
        """Begin to consume as soon as there is a connection."""
        self._keeper = asyncio.create_task(self._keep())

    async def cancel(self) -> None:
        """Stop new deliveries; the channel stays open so that those received can be settled."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        queue, self._queue = self._queue, None
        if queue is not None:
            with contextlib.suppress(*FAILURES):
                async with asyncio.timeout(CANCEL_SECONDS):
                    await queue.cancel(self._tag)

    async def close(self) -> None:
        """Stop; the connection is about to be closed."""
        await self.cancel()

    async def _keep(self) -> None:
        backoff = reconnecting()
        while True:
            lost = asyncio.Event()
            try:
                with deaths_as_failures():
                    channel = await self._set_up(lost)
            except FAILURES as error:
                log.warning("Cannot consume", consumer=self._tag, why=str(error))
                await backoff.pause()
                continue
            except Exception:  # whatever it is, nobody else will ever try again
                log.exception("Cannot consume", consumer=self._tag)
                await backoff.pause()
                continue
            backoff.reset()
            if self.started.is_set():
                await self._after_gap()
            self.started.set()
            await lost.wait()
            log.warning("Consumer was cut off", consumer=self._tag)
            self._queue = None
            with contextlib.suppress(*FAILURES), deaths_as_failures():
                async with asyncio.timeout(CANCEL_SECONDS):
                    # Still open if only the consumer was cancelled, because its queue was deleted.
                    await channel.close()
            await backoff.pause()

    async def _set_up(self, lost: asyncio.Event) -> AbstractChannel:
        connection = await self._link.connection()
        async with asyncio.timeout(SET_UP_SECONDS):
            if self.started.is_set():
                await topology.declare(connection)  # the queue may have been deleted
            channel = await connection.channel(publisher_confirms=False)
            channel.close_callbacks.add(lambda *_: lost.set())
            underlay = await channel.get_underlay_channel()
            underlay.on_consumer_cancel_callbacks.add(lambda _: lost.set())
            self._queue = await self._consume_on(channel)
        return channel

    @abc.abstractmethod
    async def _consume_on(self, channel: AbstractChannel) -> AbstractQueue:
        """Begin to consume from a queue under our tag; return the queue."""

    @abc.abstractmethod
    async def _after_gap(self) -> None:
        """Catch up: deliveries may have been missed."""


class _Delivery:
    """A message that a consumer has received."""

    def __init__(self, message: AbstractIncomingMessage) -> None:
        self._message = message
        self.body = message.body
        self.headers: Mapping[str, str] = {
            name: value for name, value in message.headers.items() if isinstance(value, str)
        }
        self.reason = _reason(message)
        self.redelivered = bool(message.redelivered)

    async def ack(self) -> None:
        await self._settle(self._message.ack())

    async def requeue(self) -> None:
        await self._settle(self._message.nack(requeue=True))

    async def fail(self) -> None:
        # Since RabbitMQ 4.3 a nack with requeue does not count as a failure; a reject does.
        await self._settle(self._message.reject(requeue=True))

    async def reject(self) -> None:
        await self._settle(self._message.reject(requeue=False))

    async def _settle(self, verb: Awaitable[None]) -> None:
        # If its channel is gone, the broker delivers it again.
        with contextlib.suppress(*FAILURES), deaths_as_failures():
            await verb


def _reason(message: AbstractIncomingMessage) -> str | None:
    deaths = message.headers.get("x-death")
    if not isinstance(deaths, list) or not deaths or not isinstance(deaths[0], dict):
        return None
    return str(deaths[0].get("reason"))


class Units(_Consumer):
    """Calls a handler for each message of a queue, for at most ``prefetch`` at a time.

    The handlers run in tasks of our own and not in the channel's: they finish even if the channel is lost,
    so that what they computed is not wasted.
    """

    def __init__(
        self,
        link: Link,
        tag: str,
        queue: Queue,
        handler: Callable[[Delivery], Awaitable[None]],
        *,
        prefetch: int,
    ) -> None:
        super().__init__(link, tag)
        self._name = queue.value
        self._handler = handler
        self._prefetch = prefetch
        self._running: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Stop everything; unsettled messages return to the queue."""
        await self.cancel()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _consume_on(self, channel: AbstractChannel) -> AbstractQueue:
        await channel.set_qos(prefetch_count=self._prefetch)
        queue = await channel.get_queue(self._name, ensure=False)
        await queue.consume(self._receive, consumer_tag=self._tag)
        return queue

    async def _after_gap(self) -> None:
        """Do nothing: what was not acknowledged is delivered again."""

    async def _receive(self, message: AbstractIncomingMessage) -> None:
        task = asyncio.create_task(self._handle(_Delivery(message)))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _handle(self, delivery: _Delivery) -> None:
        try:
            await self._handler(delivery)
        except asyncio.CancelledError:
            await delivery.requeue()
            raise
        except Exception:
            log.exception("Message could not be handled", queue=self._name)
            await delivery.fail()  # the broker counts it, and dead-letters at the limit


class Hints(_Consumer, Generic[Hint]):
    """Calls a handler for each hint of an exchange, in order."""

    def __init__(  # noqa: PLR0913, PLR0917 made in one place
        self,
        link: Link,
        tag: str,
        exchange: str,
        kind: type[Hint],
        handler: Callable[[Hint], Awaitable[None]],
        on_gap: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(link, tag)
        self._exchange = exchange
        self._kind: type[Hint] = kind
        self._handler: Callable[[Hint], Awaitable[None]] = handler
        self._on_gap = on_gap
        self._order = asyncio.Lock()

    async def _consume_on(self, channel: AbstractChannel) -> AbstractQueue:
        queue = await topology.declare_hints(channel, self._exchange)
        await queue.consume(self._receive, consumer_tag=self._tag, no_ack=True)
        return queue

    async def _receive(self, message: AbstractIncomingMessage) -> None:
        async with self._order:
            try:
                await self._handler(self._kind.decode(message.body))
            except errors.Malformed as error:
                log.warning("Hint is not readable", exchange=self._exchange, why=str(error))
            except Exception:
                log.exception("Hint could not be handled", exchange=self._exchange)

    async def _after_gap(self) -> None:
        try:
            await self._on_gap()
        except Exception:
            log.exception("Could not catch up after a gap", exchange=self._exchange)
