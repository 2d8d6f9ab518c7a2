"""The hub: reads what changed from the store, once per change, for whoever follows it in this gateway.

Events are hints. Whoever follows a task registers first and reads the store second, so no change can
fall between; after a gap, and every few seconds anyway, everything that is followed is read again.
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
"""Progress of one number that comes faster is read together; an end is read at once."""
RECHECK_SECONDS = 8.0
"""How long a follower does not know of an end whose event was lost."""
CONCURRENT_READS = 32


class Watcher:
    """Somebody who wants to hear of one task."""

    def __init__(self, task: Task, hear: Callable[[Task, Factorization | None], None]) -> None:
        self.task = task
        self.hear = hear


class Hub:
    """Everything that is followed in this gateway, by number."""

    def __init__(self, store: Store, broker: Broker, lifecycle: Lifecycle) -> None:
        self._store = store
        self._broker = broker
        self._lifecycle = lifecycle
        self._watchers: dict[BigInt, set[Watcher]] = {}
        self._stale: set[BigInt] = set()
        self._reading: dict[BigInt, asyncio.Task[None]] = {}
        self._urgent: dict[BigInt, asyncio.Event] = {}
        self._reads = asyncio.Semaphore(CONCURRENT_READS)
        self._subscription: Subscription | None = None
        self._recheck: asyncio.Task[None] | None = None
        self.closers: set[Callable[[], Awaitable[None]]] = set()
        """How to close each open socket."""
        self._polls: set[asyncio.Event] = set()
        """What long polls wait for."""
        self._stopping = False

    async def start(self) -> None:
        """Begin to hear of changes."""
        self._subscription = await self._broker.subscribe_events(self._on_event, self._on_gap)
        self._recheck = asyncio.create_task(self._recheck_forever())

    async def stop(self) -> None:
        """Close every socket, end every long poll, hear no more."""
        self._stopping = True
        for enough in self._polls:
            enough.set()
        await asyncio.gather(*(close() for close in list(self.closers)))
        if self._subscription is not None:
            await self._subscription.cancel()
        running = [task for task in (self._recheck, *self._reading.values()) if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def watch(
        self, task_id: str, owner: str, hear: Callable[[Task, Factorization | None], None]
    ) -> Watcher:
        """Call ``hear`` with the task's state now and whenever it may have changed.

        Raises:
            errors.UnknownTask: There is no such task, or it is somebody else's.
            errors.StoreUnavailable: The store does not answer.

        """
        async with self._reads:
            task = await self._store.get_task(task_id, owner)
        return await self._follow(task, hear)

    async def _follow(
        self, task: Task, hear: Callable[[Task, Factorization | None], None]
    ) -> Watcher:
        """Do as `watch` does with a task that was read before."""
        watcher = Watcher(task, hear)
        async with self._reads:
            self._watchers.setdefault(task.key, set()).add(watcher)
            metrics.FOLLOWED.set(len(self._watchers))
            try:
                hear(*await self._lifecycle.read(task.task_id, task.owner))
            except BaseException:
                self.unwatch(watcher)
                raise
        return watcher

    def unwatch(self, watcher: Watcher) -> None:
        """Forget a watcher; twice is harmless."""
        watchers = self._watchers.get(watcher.task.key, set())
        watchers.discard(watcher)
        if not watchers:
            self._watchers.pop(watcher.task.key, None)
            metrics.FOLLOWED.set(len(self._watchers))

    async def wait_done(
        self, task: Task, timeout_s: float, *, newer_than: int | None = None
    ) -> State:
        """Return the task's state when it is done, newer than a version, or the time is over."""
        latest: list[State] = []
        enough = asyncio.Event()

        def hear(task: Task, known: Factorization | None) -> None:
            latest[:] = [(task, known)]
            newer = newer_than is not None and version_of(task, known) > newer_than
            if self._stopping or newer or task.ended is not None:
                enough.set()

        watcher = await self._follow(task, hear)
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
        """Have a number read again, once for all that is heard of it meanwhile."""
        if number not in self._watchers:
            return
        self._stale.add(number)
        if number not in self._reading:
            self._urgent[number] = asyncio.Event()
            self._reading[number] = asyncio.create_task(self._read(number))
        elif urgent:
            self._urgent[number].set()

    async def _read(self, number: BigInt) -> None:
        urgent = self._urgent[number]
        try:
            while number in self._stale:
                self._stale.discard(number)
                urgent.clear()
                await self._inform(number)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(COALESCE_SECONDS):
                        await urgent.wait()
        finally:
            del self._reading[number], self._urgent[number]

    async def _inform(self, number: BigInt) -> None:
        for watcher in list(self._watchers.get(number, ())):
            try:
                async with self._reads:
                    task = watcher.task
                    state = await self._lifecycle.read(task.task_id, task.owner)
            except errors.StoreUnavailable as error:
                log.warning("Followers wait", why=str(error), **about(number))
                self._stale.add(number)
                await asyncio.sleep(1.0)
                return
            watcher.hear(*state)
