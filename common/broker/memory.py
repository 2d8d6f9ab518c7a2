"""The memory broker: RabbitMQ's semantics within one process, for `make run`."""

import asyncio
import collections
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

import structlog

from common import errors
from common.broker import DELIVERY_LIMIT, Delivery, Queue, queue_for
from common.domain import Control, Event, Unit
from common.runtime import tracing

log = structlog.stdlib.get_logger(__name__)

Hint = TypeVar("Hint", Event, Control)


class MemoryBroker:
    """Queues of encoded messages, decoded as if they came from RabbitMQ; they end with the process."""

    def __init__(self) -> None:
        self._queues: dict[Queue, collections.deque[_Message]] = {
            queue: collections.deque() for queue in Queue
        }
        self._arrivals = {queue: asyncio.Condition() for queue in Queue}
        self._consumers: list[_Consumer] = []
        self._events: list[_Listener[Event]] = []
        self._controls: list[_Listener[Control]] = []
        self._open = False

    async def open(self) -> None:
        """Accept messages from now on."""
        self._open = True

    async def close(self) -> None:
        """End every consumer; unsettled messages return to their queues."""
        self._open = False
        running: list[_Consumer | _Listener[Event] | _Listener[Control]]
        running = [*self._consumers, *self._events, *self._controls]
        for each in running:
            await each.close()
        self._consumers, self._events, self._controls = [], [], []

    @property
    def connected(self) -> bool:
        """Whether it is open."""
        return self._open

    async def publish(self, units: Sequence[Unit]) -> None:
        """Append the units to their queues."""
        self._require_open()
        with tracing.publishing("memory", units) as headers:
            for unit in units:
                await self._put(queue_for(unit), _Message(unit.encode(), headers))

    async def tell(self, event: Event) -> None:
        """Send an event to every subscriber."""
        self._require_open()
        for listener in self._events:
            listener.put(event)

    async def control(self, message: Control) -> None:
        """Send a control message to every subscriber."""
        self._require_open()
        for listener in self._controls:
            listener.put(message)

    async def consume(
        self, queue: Queue, handler: Callable[[Delivery], Awaitable[None]], *, prefetch: int
    ) -> "_Consumer":
        """Call the handler for each message."""
        self._require_open()
        consumer = _Consumer(self, queue, handler, prefetch)
        self._consumers.append(consumer)
        return consumer

    async def subscribe_events(
        self, handler: Callable[[Event], Awaitable[None]], on_gap: Callable[[], Awaitable[None]]
    ) -> "_Listener[Event]":
        """Call the handler for every event. There is never a gap here."""
        del on_gap
        listener: _Listener[Event] = _Listener(handler)
        self._events.append(listener)
        return listener

    async def subscribe_control(
        self, handler: Callable[[Control], Awaitable[None]], on_gap: Callable[[], Awaitable[None]]
    ) -> "_Listener[Control]":
        """Call the handler for every control message. There is never a gap here."""
        del on_gap
        listener: _Listener[Control] = _Listener(handler)
        self._controls.append(listener)
        return listener

    async def depth(self, queue: Queue) -> int:
        """Return how many messages of a queue wait for a consumer."""
        self._require_open()
        return len(self._queues[queue])

    def _require_open(self) -> None:
        if not self._open:
            raise errors.BrokerUnavailable("it is closed")

    async def _put(self, queue: Queue, message: "_Message", *, first: bool = False) -> None:
        messages = self._queues[queue]
        (messages.appendleft if first else messages.append)(message)
        async with self._arrivals[queue]:
            self._arrivals[queue].notify()

    async def _take(self, queue: Queue) -> "_Message":
        async with self._arrivals[queue]:
            await self._arrivals[queue].wait_for(lambda: self._queues[queue])
            return self._queues[queue].popleft()

    async def _dead_letter(self, message: "_Message", reason: str) -> None:
        await self._put(Queue.DEAD, _Message(message.body, message.headers, reason))


class _Message:
    """A message in a queue; ``failures`` counts the deliveries that ended in an error."""

    returned = False
    """Whether a consumer returned it to the queue."""

    def __init__(self, body: bytes, headers: Mapping[str, str], reason: str | None = None) -> None:
        self.body = body
        self.headers = headers
        self.reason = reason
        self.failures = 0


class _Delivery:
    """A message that a consumer has received. The first verb counts; later ones do nothing."""

    def __init__(self, broker: MemoryBroker, queue: Queue, message: _Message) -> None:
        self._broker = broker
        self._queue = queue
        self._message = message
        self._settled = False
        self.body = message.body
        self.headers = message.headers
        self.reason = message.reason
        self.redelivered = message.returned

    async def ack(self) -> None:
        self._settle()

    async def requeue(self) -> None:
        if self._settle():
            self._message.returned = True
            await self._broker._put(self._queue, self._message, first=True)  # noqa: SLF001 same module

    async def reject(self) -> None:
        if self._settle():
            await self._broker._dead_letter(self._message, "rejected")  # noqa: SLF001 same module

    async def fail(self) -> None:
        """Count the failure, then return it to the queue, or dead-letter it at the limit."""
        self._message.failures += 1
        if self._message.failures <= DELIVERY_LIMIT:
            await self.requeue()
        elif self._settle():
            await self._broker._dead_letter(self._message, "delivery_limit")  # noqa: SLF001 same module

    def _settle(self) -> bool:
        fresh, self._settled = not self._settled, True
        return fresh


class _Consumer:
    """A consumer that runs at most ``prefetch`` handlers at a time."""

    def __init__(
        self,
        broker: MemoryBroker,
        queue: Queue,
        handler: Callable[[Delivery], Awaitable[None]],
        prefetch: int,
    ) -> None:
        self._broker = broker
        self._queue = queue
        self._handler = handler
        self._free = asyncio.Semaphore(prefetch)
        self._running: set[asyncio.Task[None]] = set()
        self._loop = asyncio.create_task(self._consume())

    async def cancel(self) -> None:
        """Stop new deliveries."""
        self._loop.cancel()
        await asyncio.gather(self._loop, return_exceptions=True)

    async def close(self) -> None:
        """Stop everything; unsettled messages return to the queue."""
        await self.cancel()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _consume(self) -> None:
        while True:
            await self._free.acquire()
            message = await self._broker._take(self._queue)  # noqa: SLF001 same module
            delivery = _Delivery(self._broker, self._queue, message)
            task = asyncio.create_task(self._handle(delivery))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _handle(self, delivery: _Delivery) -> None:
        try:
            await self._handler(delivery)
        except asyncio.CancelledError:
            await delivery.requeue()
            raise
        except Exception:
            log.exception("Message could not be handled", queue=self._queue.value)
            await delivery.fail()
        finally:
            self._free.release()


class _Listener(Generic[Hint]):
    """A subscriber to hints, which gets them one at a time, in order."""

    def __init__(self, handler: Callable[[Hint], Awaitable[None]]) -> None:
        self._handler: Callable[[Hint], Awaitable[None]] = handler
        self._hints: asyncio.Queue[bytes] = asyncio.Queue()
        self._kind: type[Hint] | None = None
        self._loop = asyncio.create_task(self._listen())

    def put(self, hint: Hint) -> None:
        """Queue a hint for the handler."""
        self._kind = type(hint)
        self._hints.put_nowait(hint.encode())

    async def cancel(self) -> None:
        """Stop calling the handler."""
        self._loop.cancel()
        await asyncio.gather(self._loop, return_exceptions=True)

    close = cancel

    async def _listen(self) -> None:
        while True:
            body = await self._hints.get()
            assert self._kind is not None  # noqa: S101 whoever put the hint has set it
            try:
                await self._handler(self._kind.decode(body))
            except Exception:
                log.exception("Hint could not be handled")
