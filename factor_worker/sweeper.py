"""The sweeper: repeats what a crash cut off. Every worker runs one; two at once do no harm.

It looks for outboxes that were not published, units that nobody has any more, and work that nobody
wants. A long queue is not a fault. (Tasks that never met their factorization are begun by `admission`.)
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog
from msgspec.structs import replace

from common import errors
from common.broker import Broker, Queue, queue_for
from common.domain import ALIVE_SECONDS, Factorization, WorkerStatus
from common.lifecycle import LEFT_BEHIND_SECONDS, Lifecycle
from common.runtime.backoff import jittered
from common.runtime.concurrency import gather_limited
from common.runtime.logs import about
from common.store import Store
from factor_worker import metrics

log = structlog.stdlib.get_logger(__name__)

SWEEP_SECONDS = 2.0
"""Time between two sweeps of one worker, ± a quarter."""
LOOK_EVERY = 2
"""Every so many sweeps all active numbers are looked at, too; that is the dear part."""
AGAIN_SECONDS = 1.0
"""Time until the next sweep if one was cut short: what could not be published waits for it."""
LOST_SECONDS = 5.0
"""A unit that is neither queued nor running for this long is lost."""
PAGE = 100
CONCURRENT_STEPS = 16
"""One after the other, the outboxes of a minute without a broker would take ten seconds."""


class Sweeper:
    """Sweeps a store now and then."""

    def __init__(self, store: Store, broker: Broker) -> None:
        self._store = store
        self._broker = broker
        self._lifecycle = Lifecycle(store, broker)
        self._empty_at = dict.fromkeys((Queue.SURVEY, Queue.WORK), time.time())
        """When each queue was last seen empty, or this sweeper began to look."""

    async def run(self) -> None:
        """Sweep until cancelled."""
        pause = SWEEP_SECONDS
        for turn in itertools.count():
            await asyncio.sleep(jittered(pause))
            pause = SWEEP_SECONDS
            try:
                await self.sweep(look=turn % LOOK_EVERY == 0)
                metrics.SWEEPS.labels("done").inc()
            except errors.Unavailable as error:
                metrics.SWEEPS.labels("cut short").inc()
                log.warning("A sweep was cut short", why=str(error))
                pause = AGAIN_SECONDS

    async def sweep(self, *, patience: float = 1.0, look: bool = True) -> None:
        """Look once at everything.

        Args:
            patience: Scales the ages at which a thing counts as lost.
            look: Whether to look at all active numbers, for what is lost or unwanted.

        """
        now = time.time()
        await self._publish_outboxes(now - patience * LEFT_BEHIND_SECONDS)
        if look:
            await self._look_at_active(now - patience * LOST_SECONDS, now)

    async def _publish_outboxes(self, before: float) -> None:
        async def publish(known: Factorization) -> bool:
            if not await self._lifecycle.publish_outbox(known):
                return False
            metrics.SWEPT.labels("outbox").inc()
            return True

        async for page in _pages(self._store.list_unpublished, before):
            if not all(await gather_limited(publish, page, limit=CONCURRENT_STEPS)):
                return  # the broker is down: the next sweep tries again

    async def _look_at_active(self, before: float, now: float) -> None:
        workers = await self._store.list_workers(seen_after=now - ALIVE_SECONDS)
        horizon = {queue: await self._horizon(queue, workers, before) for queue in self._empty_at}
        if not any(horizon.values()):
            return

        async def look(known: Factorization) -> None:
            if await self._store.any_live(known.number):
                await self._reissue_lost(known, workers, horizon, now)
            elif await self._store.swap_factorization(known.rested(now)):
                metrics.SWEPT.labels("unwanted").inc()

        async for page in _pages(self._store.list_active, before):
            await gather_limited(look, page, limit=CONCURRENT_STEPS)

    async def _horizon(self, queue: Queue, workers: list[WorkerStatus], before: float) -> float:
        """Return the time of issue before which every unit of a queue must have been delivered.

        Queues are first in, first out: an empty one has delivered everything, any other what is
        older than the newest unit that a worker has received.
        """
        waiting = await self._broker.depth(queue)
        newest = max((worker.newest_issue.get(queue, 0.0) for worker in workers), default=0.0)
        if waiting == 0:
            self._empty_at[queue] = time.time()
        age = time.time() - max(newest, self._empty_at[queue]) if waiting else 0.0
        metrics.QUEUE_WAITING.labels(queue.value).set(waiting)
        metrics.QUEUE_AGE.labels(queue.value).set(max(0.0, age))
        if waiting == 0:
            return before
        return max(0.0, newest - LOST_SECONDS)

    async def _reissue_lost(
        self,
        known: Factorization,
        workers: list[WorkerStatus],
        horizon: dict[Queue, float],
        now: float,
    ) -> None:
        running = {unit_id for worker in workers for unit_id in worker.running}
        lost = [
            unit_id
            for unit_id, entry in known.outstanding.items()
            if unit_id not in running and entry.issued_at < horizon[queue_for(entry.unit)]
        ]
        if not lost:
            return
        log.warning("Publishing again what nobody has", unit_ids=lost, **about(known.number))
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
    list_page: Callable[..., Awaitable[list[Factorization]]], before: float
) -> AsyncIterator[list[Factorization]]:
    """Yield the pages of a listing."""
    after: int | None = None
    while page := await list_page(touched_before=before, after=after, limit=PAGE):
        yield page
        after = page[-1].number
