"""The sweeper: it finds what a crash has cut off, and does it again.

Every worker runs one for its share of the numbers, and two at once do no harm. It looks for outboxes that
were not published, for units that nobody has any more, for work that nobody wants, for numbers that have
missed what became of the composites that they wait for, for numbers that have rested and may go on, for tasks
that have missed the end of their number and would hold their owner's places for ever, and for outcomes and
relations that nobody needs. A long queue is not a fault. (Tasks that have not met their factorization yet
are begun by `admission`.)
"""

import asyncio
import functools
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Collection

import structlog
from msgspec.structs import replace

from common import errors
from common.broker import Broker, Queue, queue_for
from common.domain import ALIVE_SECONDS, ALL_SHARDS, Factorization, WorkerStatus, shard_of
from common.domain.accounts import DAY_SECONDS
from common.lifecycle import LEFT_BEHIND_SECONDS, Lifecycle
from common.runtime.backoff import jittered
from common.runtime.concurrency import gather_limited
from common.runtime.logs import about
from common.store import Store
from factor_worker import metrics
from factor_worker.heartbeat import KEEPERS_SHARD, Heartbeat
from factor_worker.settlement import Settlement
from factor_worker.stalls import Stalls

log = structlog.stdlib.get_logger(__name__)

SWEEP_SECONDS = 2.0
"""Time between two sweeps of one worker, ± a quarter."""
ACTIVE_EVERY = 2
"""Every second sweep looks at all active numbers too, which is the expensive part."""
ENDED_EVERY = 30
"""Every so many sweeps, once a minute, it looks at all numbers that live tasks ask for, and at all of which
outcomes or relations are stored, for those that have ended."""
RETRY_SECONDS = 1.0
"""Time until the next sweep after one that was cut short: units wait to be published."""
LOST_SECONDS = 5.0
"""A unit that is neither queued nor running for this long is lost."""
PAGE = 100
"""Factorizations that are read at a time."""
NUMBERS_A_PAGE = 1000
"""Numbers of live tasks that are read at a time, without their factorizations."""
CONCURRENT_STEPS = 16
"""One after the other, the outboxes of a minute without a broker would take ten seconds."""


class Sweeper:
    """Sweeps this worker's share of a store every few seconds."""

    def __init__(
        self, store: Store, broker: Broker, settlement: Settlement, heartbeat: Heartbeat
    ) -> None:
        self._store = store
        self._broker = broker
        self._settlement = settlement
        self._heartbeat = heartbeat
        self._lifecycle = Lifecycle(store, broker)
        self._empty_at = dict.fromkeys((Queue.SURVEY, Queue.WORK), self._store.now())
        """When each queue was last seen empty; at first, when this sweeper began to look."""
        self._stalls = Stalls()

    async def sweep_forever(self) -> None:
        """Sweep every few seconds, until cancelled."""
        pause = SWEEP_SECONDS
        for turn in itertools.count():
            await asyncio.sleep(jittered(pause))
            pause = SWEEP_SECONDS
            if not self._heartbeat.share:
                self._skip()
                continue
            try:
                await self.sweep(active=turn % ACTIVE_EVERY == 0, ended=turn % ENDED_EVERY == 0)
                metrics.SWEEPS.labels("done").inc()
            except errors.Unavailable as error:
                metrics.SWEEPS.labels("cut short").inc()
                log.warning("Sweep cut short", why=error.why)
                pause = RETRY_SECONDS

    async def sweep(
        self, *, ignore_age: bool = False, active: bool = True, ended: bool = True
    ) -> None:
        """Look once at this worker's share.

        Args:
            ignore_age: Take whatever is not finished for cut off, even if it is brand-new, and look at
                everything. Only for a worker that knows that nobody else is at work.
            active: Whether to look at all active numbers, for units that are lost or unwanted.
            ended: Whether to look at all numbers of live tasks, for those that have ended.

        Raises:
            errors.Unavailable: The store or the broker does not answer; the rest is left for later.

        """
        now = self._store.now()
        shards = ALL_SHARDS if ignore_age else self._heartbeat.share
        left_behind = now - (0 if ignore_age else LEFT_BEHIND_SECONDS)
        await self._publish_outboxes(left_behind, shards)
        if active:
            await self._check_active(now - (0 if ignore_age else LOST_SECONDS), now, shards)
            self._stalls.report()
        if ended:
            await self._complete_ended(left_behind, shards)
            await self._clear_stored(left_behind, shards)
            await self._store.delete_expired()
            if KEEPERS_SHARD in shards:
                await self._measure()
            else:
                metrics.STORE_BYTES.clear()

    async def _publish_outboxes(self, before: float, shards: Collection[int]) -> None:
        async def publish(known: Factorization) -> bool:
            if not await self._lifecycle.publish_outbox(known):
                return False
            metrics.SWEPT.labels("outbox").inc()
            return True

        async for page in _pages(self._store.list_unpublished, before, shards):
            if not all(await gather_limited(publish, page, limit=CONCURRENT_STEPS)):
                return  # the broker is down: the next sweep tries again

    async def _complete_ended(self, before: float, shards: Collection[int]) -> None:
        """Repeat what follows the end of a number whose tasks have not heard of it."""
        after: int | None = None
        while page := await self._store.list_begun(after=after, limit=NUMBERS_A_PAGE):
            after = page[-1]
            mine = [number for number in page if shard_of(number) in shards]
            for known in await self._store.list_ended(mine):
                if known.ended is not None and known.ended.at <= before:
                    await self._settlement.complete(known)
                    metrics.SWEPT.labels("ended").inc()

    async def _clear_stored(self, before: float, shards: Collection[int]) -> None:
        """Delete outcomes and relations that nobody will read, or that have rested for too long."""
        too_old = self._store.now() - DAY_SECONDS * self._store.keep.relation_days
        for number in await self._store.list_stored():
            if shard_of(number) not in shards:
                continue
            known = await self._store.get_factorization(number)
            if known is None or known.active:
                continue
            ended = known.ended is not None and known.ended.at <= before
            if ended and await self._settlement.clear(number):
                metrics.SWEPT.labels("leftovers").inc()
            if self._store.keep.relation_days and known.touched_at < too_old:
                await self._settlement.forget_sieve(known)

    async def _measure(self) -> None:
        """Report how large the store is; the worker does it that keeps the cluster's state too."""
        for size in await self._store.measure():
            metrics.STORE_BYTES.labels(size.part).set(size.size_bytes)

    async def _check_active(self, before: float, now: float, shards: Collection[int]) -> None:
        depths = {queue: await self._broker.depth(queue) for queue in self._empty_at}
        # Many workers make a long list, so it is read only if there is something to compare it with.
        workers = await self._list_workers(now) if any(depths.values()) else None
        delivered = {
            queue: self._delivered_before(queue, depth, workers or [], before)
            for queue, depth in depths.items()
        }
        if not any(delivered.values()):
            return
        async for page in _pages(self._store.list_active, before, shards):
            if workers is None:
                workers = await self._list_workers(now)
            running = {unit_id for worker in workers for unit_id in worker.running}
            wanted = await self._store.list_wanted([known.number for known in page])
            check = functools.partial(self._check, running=running, delivered=delivered, now=now)
            await gather_limited(check, zip(page, wanted, strict=True), limit=CONCURRENT_STEPS)

    async def _check(
        self,
        number: tuple[Factorization, bool],
        *,
        running: set[str],
        delivered: dict[Queue, float],
        now: float,
    ) -> None:
        """Look at an active number, which is given with whether anybody wants it."""
        known, wanted = number
        if not wanted:
            await self._lifecycle.release(known.number)
            metrics.SWEPT.labels("unwanted").inc()
            return
        if known.rests_until is not None and (
            await self._settlement.go_on(known) or not known.outstanding
        ):
            return
        entries = known.outstanding.values()
        could = any(entry.issued_at < delivered[queue_for(entry.unit)] for entry in entries)
        self._stalls.see(known, delivered=could or not entries)
        await self._reissue_lost(known, running, delivered, now)
        if known.waits_for and await self._settlement.catch_up(known):
            metrics.SWEPT.labels("waiting").inc()

    async def _list_workers(self, now: float) -> list[WorkerStatus]:
        return await self._store.list_workers(seen_after=now - ALIVE_SECONDS)

    def _delivered_before(
        self, queue: Queue, waiting: int, workers: list[WorkerStatus], before: float
    ) -> float:
        """Return a time: every unit of the queue that was issued before it must have been delivered.

        Queues are first in, first out. An empty one has delivered everything, any other whatever is
        older than the newest unit that a worker has received.
        """
        newest = max((worker.newest_issue.get(queue, 0.0) for worker in workers), default=0.0)
        if waiting == 0:
            self._empty_at[queue] = self._store.now()
        age = self._store.now() - max(newest, self._empty_at[queue]) if waiting else 0.0
        metrics.QUEUE_WAITING.labels(queue.value).set(waiting)
        metrics.QUEUE_AGE.labels(queue.value).set(max(0.0, age))
        if waiting == 0:
            return before
        return max(0.0, newest - LOST_SECONDS)

    def _skip(self) -> None:
        """Report no queues: those who sweep do it, and what was reported before would be out of date."""
        for queue in self._empty_at:
            metrics.QUEUE_WAITING.labels(queue.value).set(0)
            metrics.QUEUE_AGE.labels(queue.value).set(0)
        self._stalls.forget()

    async def _reissue_lost(
        self,
        known: Factorization,
        running: set[str],
        delivered: dict[Queue, float],
        now: float,
    ) -> None:
        lost = [
            unit_id
            for unit_id, entry in known.outstanding.items()
            if unit_id not in running and entry.issued_at < delivered[queue_for(entry.unit)]
        ]
        if not lost or await self._settlement.settle_stored(known):
            return
        log.warning("Publishing lost units again", unit_ids=lost, **about(known.number))
        outstanding = {
            unit_id: replace(entry, issued_at=now) if unit_id in lost else entry
            for unit_id, entry in known.outstanding.items()
        }
        outbox = (*known.outbox, *(unit_id for unit_id in lost if unit_id not in known.outbox))
        after = replace(known.touched(now), outstanding=outstanding, outbox=outbox)
        if await self._store.swap_factorization(after):
            metrics.SWEPT.labels("unit").inc(len(lost))
            await self._lifecycle.publish_outbox(after)


async def _pages(
    list_page: Callable[..., Awaitable[list[Factorization]]],
    before: float,
    shards: Collection[int],
) -> AsyncIterator[list[Factorization]]:
    """Yield the pages of a listing."""
    after: int | None = None
    while page := await list_page(touched_before=before, after=after, limit=PAGE, shards=shards):
        yield page
        after = page[-1].number
