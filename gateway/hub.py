"""The hub tells whoever follows a task in this gateway, a socket or a long poll, that it has changed.

Theory of operation. Workers and gateways announce every new version of a factorization with an event.
Events are hints: they may be late, doubled or lost, and they say only that a number has changed. The hub
reads what has changed from the store.

    watch     A watcher is registered first and reads the store second. A change before the read is in
              what it reads, and a change after it finds the watcher registered.
    event     Marks the number as stale and starts a reader for it, unless one is running. The reader
              reads the number and the tasks of all its watchers together, tells the watchers, and starts
              again while the number is stale: at once after an urgent event (an ending), otherwise after
              a second, so that fast progress is read once a second.
    parts     A number that is split waits for its composite parts, each of which is a factorization of
              its own. Events of these concern the number, too.
    recheck   Every few seconds the versions of all numbers and their parts are compared with what was
              read last, which bounds how long a lost event is missed. Groups of numbers take turns.
    gap       After a reconnection to the broker events may be missing, so all groups are checked at once.

A cancellation gives a number that is being worked on a new version, which a recheck finds if the event is
lost. That of a task whose number has not begun leaves no trace in versions, so what was not read for a minute
is read anyway.

If the store does not answer, the reader leaves its number marked as stale and tries again. A document
that cannot be read (of a newer version, say) is logged, and only who follows that task hears nothing.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence

import structlog

from common import errors
from common.broker import Broker, Subscription
from common.domain import BigInt, Event, Factorization, Task, key_of
from common.lifecycle import Lifecycle, State
from common.runtime.concurrency import gather_limited
from common.runtime.logs import about
from common.store import Store
from gateway import metrics
from gateway.views.representation import Views, version_of

log = structlog.stdlib.get_logger(__name__)

COALESCE_SECONDS = 1.0
"""A number whose progress comes faster is read this often; an ending is read at once."""
RECHECK_SECONDS = 8.0
"""How long it can take until a watcher learns of a change whose event was lost."""
RETRY_SECONDS = 1.0
"""Pause before a number is read again after the store did not answer."""
READ_ANYWAY_SECONDS = 60.0
"""A number is read after this time although its version is the same."""
CONCURRENT_READS = 32
CONCURRENT_NUMBERS = 8
"""Numbers that are read at a time for one caller of `Hub.watch_all`, so that others get their turn."""
RECHECK_NUMBERS = 500
"""Numbers whose versions are compared in one read."""
TELL_AT_ONCE = 100
"""Watchers that are told before other work of the event loop gets its turn."""

OnChange = Callable[[Task, Views], None]
"""Takes the state of a task, which may be one that it was given before, with the views of its number."""


class Watcher:
    """Somebody who follows one task."""

    __slots__ = ("followed", "gone", "on_change", "task")

    def __init__(self, task: Task, followed: "_Followed", on_change: OnChange) -> None:
        self.task = task
        self.followed = followed
        self.on_change = on_change
        self.gone = False


class _Followed:
    """A number that somebody follows, and what was last read of it."""

    def __init__(self, number: BigInt) -> None:
        self.number = number
        self.key = key_of(number)
        self.watchers: set[Watcher] = set()
        self.parts: tuple[BigInt, ...] = ()
        """What it waits for."""
        self.stored_versions = 0
        """The versions of the number and of its parts in the store, all together."""
        self.version = 0
        """The same, with what was taken in, so that it never falls."""
        self.begun = False
        """Whether it is worked on, so that a cancellation gives it a new version."""
        self.read_at = asyncio.get_running_loop().time()
        """When the tasks of all watchers were read."""
        self.stale = False
        self.reading = False
        self.urgent = asyncio.Event()

    def note(self, known: Factorization | None) -> None:
        """Remember what was read."""
        self.parts = known.waits_for if known else ()
        self.stored_versions = known.version if known else 0
        self.version = _version(known)
        self.begun = known is not None and known.active


def _version(known: Factorization | None) -> int:
    return known.version + known.taken_in if known else 0


class Hub:
    """Everything that is followed in this gateway, by number."""

    def __init__(self, store: Store, broker: Broker, lifecycle: Lifecycle) -> None:
        self._store = store
        self._broker = broker
        self._lifecycle = lifecycle
        self._followed: dict[str, _Followed] = {}
        self._containing: dict[str, set[_Followed]] = {}
        """Those that wait for a number, by that number."""
        self._running: set[asyncio.Task[None]] = set()
        """Readers of numbers, and rechecks."""
        self._reads = asyncio.Semaphore(CONCURRENT_READS)
        self._subscription: Subscription | None = None
        self.sockets: set[Callable[[], Awaitable[None]]] = set()
        """How to close each open WebSocket when the gateway stops."""
        self._polls: set[asyncio.Event] = set()
        """What each long poll waits for."""
        self._stopping = False

    @property
    def followers(self) -> int:
        """How many watchers there are, of sockets and long polls."""
        return sum(len(followed.watchers) for followed in self._followed.values())

    async def start(self) -> None:
        """Begin to listen to events."""
        self._subscription = await self._broker.subscribe_events(self._on_event, self._on_gap)
        self._run(self._recheck_forever())

    async def stop(self) -> None:
        """Close every socket, end every long poll, and stop listening."""
        self._stopping = True
        for enough in self._polls:
            enough.set()
        await asyncio.gather(*(close() for close in list(self.sockets)))
        if self._subscription is not None:
            await self._subscription.cancel()
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def watch(self, task_id: str, owner: str, on_change: OnChange) -> Watcher:
        """Call ``on_change`` with the task's state now, and whenever it may have changed.

        Raises:
            errors.UnknownTask: The owner has no such task.
            errors.StoreUnavailable: The store does not answer.

        """
        [watched] = await self.watch_all([task_id], owner, on_change)
        if isinstance(watched, Exception):
            raise watched
        return watched

    async def watch_all(
        self, task_ids: Collection[str], owner: str, on_change: OnChange
    ) -> list[Watcher | errors.FactorlineError]:
        """Watch several tasks, which are read together; return a watcher or an error for each, in order.

        A watcher whose task has ended is ``gone`` already.
        """
        try:
            async with self._reads:
                found = await self._store.get_tasks(list(task_ids))
        except errors.FactorlineError as error:
            return [error] * len(task_ids)
        watchers = {
            task.task_id: self._register(task, on_change) for task in found if task.owner == owner
        }
        failed: dict[str, errors.FactorlineError] = {}

        async def inform(of_number: list[Watcher]) -> None:
            try:
                await self._inform(of_number[0].followed, of_number)
            except errors.FactorlineError as error:
                for watcher in of_number:
                    self.unwatch(watcher)
                    failed[watcher.task.task_id] = error

        by_number: dict[str, list[Watcher]] = {}
        for watcher in watchers.values():
            by_number.setdefault(watcher.followed.key, []).append(watcher)
        try:
            await gather_limited(inform, by_number.values(), limit=CONCURRENT_NUMBERS)
        except BaseException:
            for watcher in watchers.values():
                self.unwatch(watcher)
            raise
        return [
            failed.get(task_id) or watchers.get(task_id) or errors.UnknownTask(task_id=task_id)
            for task_id in task_ids
        ]

    def _register(self, task: Task, on_change: OnChange) -> Watcher:
        key = key_of(task.key)
        followed = self._followed.get(key)
        if followed is None:
            followed = self._followed[key] = _Followed(task.key)
        watcher = Watcher(task, followed, on_change)
        followed.watchers.add(watcher)
        metrics.FOLLOWERS.inc()
        metrics.FOLLOWED.set(len(self._followed))
        return watcher

    def unwatch(self, watcher: Watcher) -> None:
        """Forget a watcher. Calling it again does nothing."""
        watcher.gone = True
        followed = watcher.followed
        if watcher not in followed.watchers:
            return
        followed.watchers.discard(watcher)
        metrics.FOLLOWERS.dec()
        if not followed.watchers:
            self._note(followed, None)
            del self._followed[followed.key]
            metrics.FOLLOWED.set(len(self._followed))

    async def _inform(self, followed: _Followed, watchers: Sequence[Watcher]) -> None:
        """Read a number and the tasks of some of its watchers together, and tell these watchers."""
        task_ids = list(dict.fromkeys(watcher.task.task_id for watcher in watchers))
        missed = True
        while missed:
            async with self._reads:
                tasks, known = await self._read_tasks(followed.number, task_ids)
            if not followed.watchers:
                return
            # New parts may have changed since they were read.
            parts = known.waits_for if known else ()
            missed = any(part not in followed.parts for part in parts)
            overtaken = _version(known) < followed.version
            self._note(followed, known)
            if overtaken:  # another read was faster, or the store is restored from a backup
                self._refresh(followed, urgent=False)
        await self._tell(watchers, tasks, Views(known))

    async def _read_tasks(
        self, number: BigInt, task_ids: Sequence[str]
    ) -> tuple[list[Task], Factorization | None]:
        """Read tasks of a number together, or one by one if there is one that cannot be read."""
        try:
            return await self._lifecycle.read_tasks(number, task_ids)
        except errors.Malformed:
            if len(task_ids) == 1:
                raise
        tasks: list[Task] = []
        known = await self._lifecycle.look_up(number, at=0.0)
        for task_id in task_ids:
            try:
                some, known = await self._lifecycle.read_tasks(number, [task_id])
            except errors.Malformed as error:
                log.warning("A task cannot be read", task_id=task_id, why=str(error))
            else:
                tasks += some
        return tasks, known

    async def _tell(self, watchers: Sequence[Watcher], tasks: Sequence[Task], views: Views) -> None:
        by_id = {task.task_id: task for task in tasks}
        for place, watcher in enumerate(watchers):
            if place and place % TELL_AT_ONCE == 0:
                await asyncio.sleep(0)
            task = by_id.get(watcher.task.task_id)
            if watcher.gone or task is None:
                continue
            try:
                watcher.on_change(task, views)
            except Exception:  # whatever it is, the others have to be told
                log.exception("A follower could not be told", task_id=task.task_id)
            if task.ended is not None:
                self.unwatch(watcher)

    def _note(self, followed: _Followed, known: Factorization | None) -> None:
        """Remember what was read of a number, and have events of what it waits for concern it."""
        before = followed.parts
        followed.note(known)
        if followed.parts == before:
            return
        for part in before:
            containing = self._containing[key_of(part)]
            containing.discard(followed)
            if not containing:
                del self._containing[key_of(part)]
        for part in followed.parts:
            self._containing.setdefault(key_of(part), set()).add(followed)

    async def wait_done(
        self, task: Task, timeout_s: float, *, newer_than: int | None = None
    ) -> State:
        """Wait until a task is done, or newer than a version, or the time is over; return its state.

        Raises:
            errors.StoreUnavailable: The store does not answer.

        """
        latest: list[State] = []
        enough = asyncio.Event()

        def on_change(task: Task, views: Views) -> None:
            version = version_of(task, views.known)
            if not latest or version >= version_of(*latest[0]):
                latest[:] = [(task, views.known)]
            newer = newer_than is not None and version > newer_than
            if self._stopping or newer or task.ended is not None:
                enough.set()

        watcher = self._register(task, on_change)
        self._polls.add(enough)
        try:
            await self._inform(watcher.followed, [watcher])
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await enough.wait()
        finally:
            self._polls.discard(enough)
            self.unwatch(watcher)
        return latest[0] if latest else (task, None)  # the task may have been erased meanwhile

    async def _on_event(self, event: Event) -> None:
        key = key_of(event.number)
        concerned = [*self._containing.get(key, ())]
        if key in self._followed:
            concerned.append(self._followed[key])
        metrics.EVENTS.labels("yes" if concerned else "no").inc()
        for followed in concerned:
            self._refresh(followed, urgent=event.urgent)

    async def _on_gap(self) -> None:
        metrics.EVENT_GAPS.inc()
        self._run(self._catch_up())

    async def _catch_up(self) -> None:
        for group in self._groups():
            await self._recheck(group, after_gap=True)

    async def _recheck_forever(self) -> None:
        while True:
            groups = self._groups()
            for group in groups:
                try:
                    await self._recheck([followed for followed in group if followed.watchers])
                except Exception:  # the next group must be looked at, whatever this one holds
                    log.exception("Numbers could not be checked")
                await asyncio.sleep(RECHECK_SECONDS / len(groups))
            if not groups:
                await asyncio.sleep(RECHECK_SECONDS)

    def _groups(self) -> list[list[_Followed]]:
        everything = list(self._followed.values())
        starts = range(0, len(everything), RECHECK_NUMBERS)
        return [everything[start : start + RECHECK_NUMBERS] for start in starts]

    async def _recheck(self, group: Sequence[_Followed], *, after_gap: bool = False) -> None:
        """Have those numbers read whose versions are not those that were read last."""
        asked = [number for followed in group for number in (followed.number, *followed.parts)]
        counts = [1 + len(followed.parts) for followed in group]
        try:
            versions = iter(await self._store.list_versions(asked))
        except errors.StoreUnavailable as error:
            log.warning("The store does not answer: updates are delayed", why=error.why)
            if after_gap:
                for followed in group:
                    self._refresh(followed, urgent=True)  # its reader tries until the store answers
            return
        long_ago = asyncio.get_running_loop().time() - READ_ANYWAY_SECONDS
        for followed, count in zip(group, counts, strict=True):
            stored = sum(itertools.islice(versions, count))
            unsure = followed.read_at < long_ago or (after_gap and not followed.begun)
            if unsure or stored != followed.stored_versions:
                self._refresh(followed, urgent=True)

    def _refresh(self, followed: _Followed, *, urgent: bool) -> None:
        """Have a number read again, by the reader that is running for it or by a new one."""
        followed.stale = True
        if not followed.reading:
            followed.reading = True
            self._run(self._read(followed))
        elif urgent:
            followed.urgent.set()

    async def _read(self, followed: _Followed) -> None:
        try:
            while followed.stale and followed.watchers:
                followed.stale = False
                followed.urgent.clear()
                await self._notify(followed)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(COALESCE_SECONDS):
                        await followed.urgent.wait()
        finally:
            followed.reading = False

    async def _notify(self, followed: _Followed) -> None:
        """Tell all watchers of a number its newest state, and the states of their tasks."""
        before, watchers = followed.version, set(followed.watchers)
        try:
            await self._inform(followed, list(watchers))
        except errors.StoreUnavailable as error:
            log.warning(
                "The store does not answer: updates are delayed",
                why=error.why,
                **about(followed.number),
            )
            followed.stale = True
            await asyncio.sleep(RETRY_SECONDS)
            return
        except errors.FactorlineError as error:
            log.warning("A number cannot be read", why=str(error), **about(followed.number))
            return
        followed.read_at = asyncio.get_running_loop().time()
        if followed.version != before and not followed.watchers <= watchers:
            followed.stale = True  # who came meanwhile may have read the version before

    def _run(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
