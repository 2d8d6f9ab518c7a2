"""The hub tells whoever follows a task in this gateway, a socket or a long poll, that it has changed.

Theory of operation. Workers and gateways announce every new version of a factorization with an event.
Events are hints: they may be late, doubled or lost, and they say only that a number has changed. The hub
reads what has changed from the store.

    watch     A watcher is registered first and reads the store second. A change before the read is in
              what it reads, and a change after it finds the watcher registered.
    event     Marks the number as stale and starts a reader for it, unless one is running. The reader
              reads each watcher's task, tells the watcher, and starts again while the number is stale:
              at once after an urgent event (an ending), otherwise after a second, so that fast progress is
              read once a second.
    parts     A number that is split waits for its composite parts, each of which is a factorization of
              its own. The watcher is registered for these as well, so that it hears of their progress.
    gap       After a reconnection to the broker events may be missing, so every watched number is read.
    recheck   The same happens every few seconds, which bounds how long a lost event is missed.

If the store does not answer, the reader leaves its number marked as stale and tries again.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

from common import errors
from common.broker import Broker, Subscription
from common.domain import BigInt, Event, Factorization, Task
from common.lifecycle import Lifecycle, State
from common.runtime.logs import about
from common.store import Store
from gateway import metrics
from gateway.views.representation import version_of

log = structlog.stdlib.get_logger(__name__)

COALESCE_SECONDS = 1.0
"""A number whose progress comes faster is read this often; an ending is read at once."""
RECHECK_SECONDS = 8.0
"""How long it can take until a watcher learns of a change whose event was lost."""
RETRY_SECONDS = 1.0
"""Pause before a number is read again after the store did not answer."""
CONCURRENT_READS = 32

OnChange = Callable[[Task, Factorization | None], None]
"""Takes the state of a task, which may be one that it was given before."""


class Watcher:
    """Somebody who follows one task."""

    def __init__(self, task: Task, on_change: OnChange) -> None:
        self.task = task
        self.on_change = on_change
        self.numbers: set[BigInt] = set()
        """What it is registered for: the task's number, and the parts that this waits for."""
        self.gone = False


class Hub:
    """Everything that is followed in this gateway, by number."""

    def __init__(self, store: Store, broker: Broker, lifecycle: Lifecycle) -> None:
        self._store = store
        self._broker = broker
        self._lifecycle = lifecycle
        self._watchers: dict[BigInt, set[Watcher]] = {}
        self._stale: set[BigInt] = set()
        self._readers: dict[BigInt, asyncio.Task[None]] = {}
        self._urgent: dict[BigInt, asyncio.Event] = {}
        self._reads = asyncio.Semaphore(CONCURRENT_READS)
        self._subscription: Subscription | None = None
        self._recheck: asyncio.Task[None] | None = None
        self.sockets: set[Callable[[], Awaitable[None]]] = set()
        """How to close each open WebSocket when the gateway stops."""
        self._polls: set[asyncio.Event] = set()
        """What each long poll waits for."""
        self._stopping = False

    async def start(self) -> None:
        """Begin to listen to events."""
        self._subscription = await self._broker.subscribe_events(self._on_event, self._on_gap)
        self._recheck = asyncio.create_task(self._recheck_forever())

    async def stop(self) -> None:
        """Close every socket, end every long poll, and stop listening."""
        self._stopping = True
        for enough in self._polls:
            enough.set()
        await asyncio.gather(*(close() for close in list(self.sockets)))
        if self._subscription is not None:
            await self._subscription.cancel()
        running = [task for task in (self._recheck, *self._readers.values()) if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def watch(self, task_id: str, owner: str, on_change: OnChange) -> Watcher:
        """Call ``on_change`` with the task's state now, and whenever it may have changed.

        Raises:
            errors.UnknownTask: The owner has no such task.
            errors.StoreUnavailable: The store does not answer.

        """
        async with self._reads:
            task = await self._store.get_task(task_id, owner)
        return await self._follow(task, on_change)

    async def _follow(self, task: Task, on_change: OnChange) -> Watcher:
        watcher = Watcher(task, on_change)
        async with self._reads:
            self._register(watcher, {task.key})
            try:
                await self._inform(watcher)
            except BaseException:
                self.unwatch(watcher)
                raise
        return watcher

    def unwatch(self, watcher: Watcher) -> None:
        """Forget a watcher. Calling it again does nothing."""
        watcher.gone = True
        self._register(watcher, set())

    def _register(self, watcher: Watcher, numbers: set[BigInt]) -> None:
        """Have a watcher hear of changes to these numbers, and of no others."""
        for number in watcher.numbers - numbers:
            watchers = self._watchers[number]
            watchers.discard(watcher)
            if not watchers:
                del self._watchers[number]
        for number in numbers - watcher.numbers:
            self._watchers.setdefault(number, set()).add(watcher)
        watcher.numbers = numbers
        metrics.FOLLOWED.set(len(self._watchers))

    async def _inform(self, watcher: Watcher) -> None:
        """Read a watcher's task, register the watcher for what its number waits for, and tell it."""
        missed = True
        while missed:
            task, known = await self._lifecycle.read(watcher.task.task_id, watcher.task.owner)
            if watcher.gone:
                return
            numbers = {watcher.task.key, *(known.waits_for if known else ())}
            missed = not numbers <= watcher.numbers  # the new ones may have changed since the read
            self._register(watcher, numbers)
        watcher.on_change(task, known)

    async def wait_done(
        self, task: Task, timeout_s: float, *, newer_than: int | None = None
    ) -> State:
        """Wait until a task is done, or newer than a version, or the time is over; return its state.

        Raises:
            errors.StoreUnavailable: The store does not answer.

        """
        latest: list[State] = []
        enough = asyncio.Event()

        def on_change(task: Task, known: Factorization | None) -> None:
            latest[:] = [(task, known)]
            newer = newer_than is not None and version_of(task, known) > newer_than
            if self._stopping or newer or task.ended is not None:
                enough.set()

        watcher = await self._follow(task, on_change)
        self._polls.add(enough)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await enough.wait()
        finally:
            self._polls.discard(enough)
            self.unwatch(watcher)
        return latest[0]

    async def _on_event(self, event: Event) -> None:
        metrics.EVENTS.labels("yes" if event.number in self._watchers else "no").inc()
        self._refresh(event.number, urgent=event.urgent)

    async def _on_gap(self) -> None:
        metrics.EVENT_GAPS.inc()
        self._refresh_all()

    def _refresh_all(self) -> None:
        for number in list(self._watchers):
            self._refresh(number, urgent=True)

    async def _recheck_forever(self) -> None:
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            self._refresh_all()

    def _refresh(self, number: BigInt, *, urgent: bool) -> None:
        """Have a number read again, by the reader that is running for it or by a new one."""
        if number not in self._watchers:
            return
        self._stale.add(number)
        if number not in self._readers:
            self._urgent[number] = asyncio.Event()
            self._readers[number] = asyncio.create_task(self._read(number))
        elif urgent:
            self._urgent[number].set()

    async def _read(self, number: BigInt) -> None:
        urgent = self._urgent[number]
        try:
            while number in self._stale:
                self._stale.discard(number)
                urgent.clear()
                await self._notify(number)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(COALESCE_SECONDS):
                        await urgent.wait()
        finally:
            del self._readers[number], self._urgent[number]

    async def _notify(self, number: BigInt) -> None:
        """Read the task of each of a number's watchers, and tell the watcher."""
        for watcher in list(self._watchers.get(number, ())):
            try:
                async with self._reads:
                    await self._inform(watcher)
            except errors.StoreUnavailable as error:
                log.warning(
                    "The store does not answer: updates are delayed",
                    why=str(error),
                    **about(number),
                )
                self._stale.add(number)
                await asyncio.sleep(RETRY_SECONDS)
                return
