"""The worker's composition root: slots, consumers, sweeper and heartbeat around one store and broker."""

import asyncio
import contextlib
import os
import platform
import secrets
import time

import structlog

from common import errors
from common.broker import Broker, Delivery, Queue, Subscription, queue_for
from common.domain import ALIVE_SECONDS, HEARTBEAT_SECONDS, WorkerStatus
from common.runtime.settings import Settings
from common.store import Store
from factor_worker import metrics
from factor_worker.admission import Admission
from factor_worker.consumer import Consumer
from factor_worker.slots.child import ChildLimits
from factor_worker.slots.pool import Pool
from factor_worker.sweeper import Sweeper

log = structlog.stdlib.get_logger(__name__)

WORK_NICENESS = 19
"""Long units step back for surveys and for everything else on the machine."""
SURVEY_NICENESS = 5
"""Surveys step back for this program, which would otherwise be kept from handing them over."""
SURVEY_SECONDS = 30.0
"""Wall-clock limit of a survey, which takes a second at most: others wait in the same hands."""
SURVEY_PREFETCH = 16
"""Surveys in hand for each slot: a group is computed while as many wait for the store."""
AFTER_KILL_SECONDS = 5.0
"""How long giving back may take once the children are dead."""
RECHECK_SECONDS = 5.0
"""How often a worker looks whether its units are still wanted, should a control message be lost."""


def _count_death(how: str) -> None:
    log.warning("An engine process died", how=how)
    metrics.CHILDREN_DIED.labels(how).inc()


class Worker:
    """One worker process. The store and the broker are open, and whoever opened them closes them."""

    def __init__(self, settings: Settings, store: Store, broker: Broker) -> None:
        self._settings = settings
        self._store = store
        self._broker = broker
        limits = ChildLimits(settings.unit_seconds, settings.memory_mb << 20)
        niced = limits._replace(niceness=WORK_NICENESS)
        self._pool = Pool(settings.slots, niced, on_death=_count_death)
        # As many as for work, so that a burst of small numbers uses every core.
        self._survey_pool = Pool(
            settings.slots,
            limits._replace(
                unit_seconds=min(SURVEY_SECONDS, settings.unit_seconds), niceness=SURVEY_NICENESS
            ),
            on_death=_count_death,
        )
        self.worker_id = f"{settings.name or platform.node()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._consumer = Consumer(
            store, broker, worker_id=self.worker_id, sieve_digits=settings.sieve_digits
        )
        self._sweeper = Sweeper(store, broker)
        self._admission = Admission(store, broker, self.worker_id)
        self._subscriptions: list[Subscription] = []
        self._loops: list[asyncio.Task[None]] = []
        self._started_at = time.time()

    async def start(self, *, alone: bool = False) -> None:
        """Start the children and take work.

        Args:
            alone: No other worker can have anything in hand, so whatever is outstanding and not
                queued is published again at once (embedded mode after a restart).

        """
        _, slowness = await asyncio.gather(self._survey_pool.start(), self._pool.start())
        self._consumer.slowness = slowness
        await self._beat_patiently()
        if alone:
            await self._admission.admit(patience=0.0)
            await self._sweeper.sweep(patience=0.0)
        consumer, consume = self._consumer, self._broker.consume
        self._subscriptions = [
            await consume(
                Queue.SURVEY,
                self._survey,
                prefetch=SURVEY_PREFETCH * self._settings.slots,
            ),
            await consume(
                Queue.WORK,
                lambda delivery: consumer.handle(self._pool, delivery),
                prefetch=self._settings.slots,
            ),
            await consume(Queue.DEAD, consumer.handle_dead, prefetch=1),
            await self._broker.subscribe_control(consumer.check_running, consumer.check_running),
        ]
        self._loops = [
            asyncio.create_task(self._heartbeat()),
            asyncio.create_task(self._recheck()),
            asyncio.create_task(self._sweeper.run()),
            asyncio.create_task(self._admission.run()),
            asyncio.create_task(self._consumer.meter.run()),
        ]
        log.info("Ready", worker_id=self.worker_id, slots=self._settings.slots)

    async def stop(self, *, grace_seconds: float | None = None) -> None:
        """Stop taking work, finish what ends within the grace, give back the rest, let go."""
        grace = self._settings.grace_seconds if grace_seconds is None else grace_seconds
        await asyncio.gather(*(subscription.cancel() for subscription in self._subscriptions))
        await self._drained(grace)
        self._consumer.leave()
        await self._drained(AFTER_KILL_SECONDS)
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        await asyncio.gather(self._pool.close(), self._survey_pool.close())
        with contextlib.suppress(errors.StoreUnavailable):
            await self._consumer.meter.charge()
            await self._store.remove_worker(self.worker_id)
        log.info("Stopped", worker_id=self.worker_id)

    async def _survey(self, delivery: Delivery) -> None:
        await self._consumer.handle(self._survey_pool, delivery)
        self._admission.stir()

    async def _drained(self, seconds: float) -> None:
        """Wait until nothing is in hand, but no longer than this."""
        end = time.monotonic() + seconds
        while self._consumer.in_hand and time.monotonic() < end:  # noqa: ASYNC110 at most seconds
            await asyncio.sleep(0.02)

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            await self._beat_patiently()

    async def _beat_patiently(self) -> None:
        try:
            await self._store.heartbeat(self._status())
            workers = await self._store.list_workers(seen_after=time.time() - ALIVE_SECONDS)
        except errors.StoreUnavailable as error:
            log.warning("No heartbeat", why=str(error))
        else:
            slots = max(1, sum(worker.slots for worker in workers))
            numbers = max(1, len({number for worker in workers for number in worker.large}))
            self._consumer.capacity = self._consumer.capacity._replace(slots=slots, numbers=numbers)
            self._admission.slots = slots
            self._admission.workers = [worker.worker_id for worker in workers]

    def _status(self) -> WorkerStatus:
        units = [held.unit for held in self._consumer.in_hand.values()]
        return WorkerStatus(
            worker_id=self.worker_id,
            host=platform.node(),
            pid=os.getpid(),
            slots=self._settings.slots,
            running=tuple(unit.unit_id for unit in units),
            large=tuple({unit.number for unit in units if queue_for(unit) is Queue.WORK}),
            newest_issue=dict(self._consumer.newest_issue),
            units_done=self._consumer.units_done,
            started_at=self._started_at,
            seen_at=time.time(),
        )

    async def _recheck(self) -> None:
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            await self._consumer.check_running()
