"""The RabbitMQ side of the broker port: confirmed publishes, and consumers that survive lost connections."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, AbstractQueue
from aio_pika.exceptions import DeliveryError

from common import errors
from common.broker import Delivery, Queue, queue_for
from common.broker.rabbit import topology
from common.broker.rabbit.connection import FAILURES, Link, deaths_as_failures
from common.broker.rabbit.consumers import Hints, Units
from common.domain import Control, Event, Unit, digest_of
from common.runtime import metrics, tracing

OPEN_SECONDS = 5.0
"""How long `open` waits for the broker before it goes on without one."""
PUBLISH_SECONDS = 2.5
"""How long a confirm is awaited. A message without one may have been taken, or may be later:
units may be doubled without harm."""
SUSPECT_SECONDS = 5.0
"""How long the broker counts as down after a message was not confirmed, as on a blocked connection."""
IN_FLIGHT = 100
"""Unconfirmed messages at a time. More of them add latency and no throughput."""
HINT_SECONDS = 1.0
ASK_SECONDS = 3.0


class RabbitBroker:
    """Two connections, so that flow control on publishing never stalls the consumers."""

    def __init__(self, url: str, *, name: str = "factorline") -> None:
        self._name = name
        self._out = Link(url, f"{name}: publishing")
        self._in = Link(url, f"{name}: consuming")
        self._channels: dict[bool, AbstractChannel] = {}
        """The open channels of the publishing connection: with confirms (True) and without (False)."""
        self._opening = asyncio.Lock()
        self._in_flight = asyncio.Semaphore(IN_FLIGHT)
        self._suspect_until = 0.0
        self._closing: set[asyncio.Future[None]] = set()
        self._consumers: list[Units | Hints[Event] | Hints[Control]] = []

    async def open(self) -> None:
        """Connect, or keep trying in the background."""
        self._out.open()
        self._in.open()
        waits = (self._out.connection(), self._in.connection())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(OPEN_SECONDS):
                await asyncio.gather(*waits)

    async def close(self) -> None:
        """Disconnect; unsettled messages return to their queues."""
        await asyncio.gather(*(consumer.close() for consumer in self._consumers))
        self._consumers = []
        await asyncio.gather(self._in.close(), self._out.close())

    @property
    def connected(self) -> bool:
        """Whether a publish would go through now, as far as is known."""
        return self._out.up and time.monotonic() >= self._suspect_until

    async def publish(self, units: Sequence[Unit]) -> None:
        """Return once every unit is confirmed."""
        with tracing.publishing("rabbitmq", units) as headers:
            await self._publish(units, headers)

    async def _publish(self, units: Sequence[Unit], headers: Mapping[str, str]) -> None:
        messages = [
            (
                queue_for(unit).value,
                aio_pika.Message(
                    unit.encode(),
                    headers=dict(headers),
                    content_type="application/json",
                    delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                    message_id=unit.unit_id,
                    type=unit.kind,
                ),
            )
            for unit in units
        ]
        exchange = await self._exchange("", confirms=True)
        results = await asyncio.gather(
            *(self._confirmed(exchange, key, message) for key, message in messages),
            return_exceptions=True,
        )
        for error in results:
            if isinstance(error, BaseException):
                raise error

    async def tell(self, event: Event) -> None:
        """Send an event to every gateway."""
        await self._hint(topology.EVENTS, digest_of(event.number), event)

    async def control(self, message: Control) -> None:
        """Send a control message to every worker."""
        await self._hint(topology.CONTROL, "", message)

    async def consume(
        self, queue: Queue, handler: Callable[[Delivery], Awaitable[None]], *, prefetch: int
    ) -> Units:
        """Call the handler for each message, for as long as there is a connection."""
        tag = f"{self._name}: {queue.value}"
        units = Units(self._in, tag, queue, handler, prefetch=prefetch)
        await self._begin(units)
        return units

    async def subscribe_events(
        self, handler: Callable[[Event], Awaitable[None]], on_gap: Callable[[], Awaitable[None]]
    ) -> Hints[Event]:
        """Call the handler for every event, and ``on_gap`` after each reconnect."""
        hints = Hints(self._in, f"{self._name}: events", topology.EVENTS, Event, handler, on_gap)
        await self._begin(hints)
        return hints

    async def subscribe_control(
        self, handler: Callable[[Control], Awaitable[None]], on_gap: Callable[[], Awaitable[None]]
    ) -> Hints[Control]:
        """Call the handler for every control message, and ``on_gap`` after each reconnect."""
        tag = f"{self._name}: control"
        hints = Hints(self._in, tag, topology.CONTROL, Control, handler, on_gap)
        await self._begin(hints)
        return hints

    async def _begin(self, consumer: "Units | Hints[Event] | Hints[Control]") -> None:
        self._consumers.append(consumer)
        consumer.start()
        if self._in.up:  # a hint that is sent from now on must not be missed
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(OPEN_SECONDS):
                    await consumer.started.wait()

    async def depth(self, queue: Queue) -> int:
        """Return how many messages of a queue wait for a consumer."""
        if not self._out.up:
            raise errors.BrokerUnavailable("there is no connection")
        connection = await self._out.connection()
        try:
            with deaths_as_failures():
                found = await self._ask_for(connection, queue)
        except FAILURES as error:
            raise errors.BrokerUnavailable(
                str(error) or "it did not tell the length of the queue"
            ) from error
        return found.declaration_result.message_count or 0

    @staticmethod
    async def _ask_for(connection: AbstractConnection, queue: Queue) -> AbstractQueue:
        # On a channel of its own: asking for a queue that was deleted closes the channel.
        async with asyncio.timeout(ASK_SECONDS), connection.channel() as channel:
            return await channel.declare_queue(queue.value, passive=True)

    async def _confirmed(
        self, exchange: AbstractExchange, key: str, message: aio_pika.Message
    ) -> None:
        try:
            with deaths_as_failures():
                async with self._in_flight, asyncio.timeout(PUBLISH_SECONDS):
                    await exchange.publish(message, key, mandatory=True)
        except DeliveryError as error:
            # Refused, or returned because its queue is gone: a new channel declares it again.
            self._drop_channel(confirms=True)
            metrics.PUBLISHES_FAILED.inc()
            raise errors.BrokerUnavailable(f"it refused a message for {key}") from error
        except FAILURES as error:
            if isinstance(error, TimeoutError):
                self._suspect_until = time.monotonic() + SUSPECT_SECONDS
            self._drop_channel(confirms=True)
            metrics.PUBLISHES_FAILED.inc()
            why = str(error) or f"no confirm within {PUBLISH_SECONDS} s"
            raise errors.BrokerUnavailable(why) from error

    async def _hint(self, exchange_name: str, key: str, hint: Event | Control) -> None:
        exchange = await self._exchange(exchange_name, confirms=False)
        try:
            with deaths_as_failures():
                async with asyncio.timeout(HINT_SECONDS):
                    await exchange.publish(aio_pika.Message(hint.encode()), key, mandatory=False)
        except FAILURES as error:
            self._drop_channel(confirms=False)
            metrics.PUBLISHES_FAILED.inc()
            raise errors.BrokerUnavailable(error) from error

    async def _exchange(self, name: str, *, confirms: bool) -> AbstractExchange:
        """Return an exchange on an open channel; raise `errors.BrokerUnavailable` at once if down."""
        if not self.connected:
            metrics.PUBLISHES_FAILED.inc()
            raise errors.BrokerUnavailable("there is no connection")
        try:
            with deaths_as_failures():
                # Waiting for the lock counts too: with a silent broker all would wait one after the other.
                async with asyncio.timeout(PUBLISH_SECONDS), self._opening:
                    channel = self._channels.get(confirms)
                    if channel is None or channel.is_closed:
                        channel = await self._open_channel(confirms=confirms)
        except FAILURES as error:
            if isinstance(error, TimeoutError):
                self._suspect_until = time.monotonic() + SUSPECT_SECONDS
            raise errors.BrokerUnavailable(str(error) or "it did not open a channel") from error
        return await channel.get_exchange(name, ensure=False) if name else channel.default_exchange

    async def _open_channel(self, *, confirms: bool) -> AbstractChannel:
        connection = await self._out.connection()
        await topology.declare(connection)
        channel = await connection.channel(publisher_confirms=confirms, on_return_raises=confirms)
        self._channels[confirms] = channel
        return channel

    def _drop_channel(self, *, confirms: bool) -> None:
        """Stop using a channel whose confirms can no longer be trusted."""
        channel = self._channels.pop(confirms, None)
        if channel is not None and not channel.is_closed:
            closing = asyncio.ensure_future(_close_channel(channel))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


async def _close_channel(channel: AbstractChannel) -> None:
    with contextlib.suppress(*FAILURES):
        async with asyncio.timeout(ASK_SECONDS):
            await channel.close()
