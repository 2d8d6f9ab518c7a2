"""The worker's composition root: pools, consumer, sweeper and heartbeat around one store and broker."""

import asyncio
import contextlib
import os
import platform
import secrets
import time

import structlog

from common import errors
from common.broker import Broker, Delivery, Queue, Subscription
from common.runtime.settings import Settings
from common.store import Store
from factor_worker import metrics
from factor_worker.admission import Admission
from factor_worker.consumer import Consumer
from factor_worker.heartbeat import Heartbeat
from factor_worker.metering import Meter
from factor_worker.settlement import Settlement
from factor_worker.slots import confinement
from factor_worker.slots.child import ChildLimits
from factor_worker.slots.pool import Pool
from factor_worker.sweeper import Sweeper

log = structlog.stdlib.get_logger(__name__)

WORK_NICENESS = 19
"""Long units yield the processor to surveys and to everything else on the machine."""
SURVEY_NICENESS = 5
"""Surveys yield it to this program, which would otherwise have no time to hand them over."""
SURVEY_SECONDS = 30.0
"""Wall-clock limit of a survey, which takes a second at most and holds up those behind it."""
SURVEY_PREFETCH = 16
"""Surveys delivered ahead for each slot: while one group is computed, as many wait for the store."""
REQUEUE_SECONDS = 5.0
"""How long giving units back to the broker may take once the children are dead."""
RECHECK_SECONDS = 5.0
"""How often a worker looks whether its units are still wanted, in case a control message was lost."""


def _count_death(how: str) -> None:
    log.warning("Child process died", how=how)
    metrics.CHILDREN_DIED.labels(how).inc()


class Worker:
    """One worker process. The store and the broker are open, and whoever opened them closes them."""

    def __init__(self, settings: Settings, store: Store, broker: Broker) -> None:
        self._settings = settings
        self._broker = broker
        self._work_pool, self._survey_pool = _pools(settings)
        name = settings.name or platform.node()
        self.worker_id = f"{name}-{os.getpid()}-{secrets.token_hex(3)}"
        self._heartbeat = Heartbeat(store, worker_id=self.worker_id, slots=settings.slots)
        self._meter = Meter(store)
        self._settlement = settlement = Settlement(
            store,
            broker,
            self._heartbeat,
            meter=self._meter,
            sieve_digits=settings.sieve_digits,
        )
        self._consumer = Consumer(store, settlement, worker_id=self.worker_id)
        self._sweeper = Sweeper(store, broker, settlement, self._heartbeat)
        self._admission = Admission(store, broker, self._heartbeat)
        self._subscriptions: list[Subscription] = []
        self._loops: list[asyncio.Task[None]] = []

    async def start(self, *, alone: bool = False) -> None:
        """Start the children and take work.

        Args:
            alone: There is no other worker, so whatever is outstanding and not queued is published again
                at once, and workers that are still in the store are dead (embedded mode after a restart).

        Raises:
            SlotBroken: A child process cannot be started.

        """
        _, slowness = await asyncio.gather(self._survey_pool.start(), self._work_pool.start())
        self._consumer.slowness = slowness
        if alone:
            await self._heartbeat.forget_others()
        await self._heartbeat.beat(self._consumer.activity())
        if alone:
            await self._admission.admit(ignore_age=True)
            await self._sweeper.sweep(ignore_age=True)
        await self._subscribe()
        self._loops = [
            asyncio.create_task(self._heartbeat.beat_forever(self._consumer.activity)),
            asyncio.create_task(self._recheck_forever()),
            asyncio.create_task(self._sweeper.sweep_forever()),
            asyncio.create_task(self._admission.admit_forever()),
            asyncio.create_task(self._meter.charge_forever()),
        ]
        log.info(
            "Ready",
            worker_id=self.worker_id,
            slots=self._settings.slots,
            children_kept_from=confinement.in_force() or "nothing: this kernel has no Landlock",
        )

    async def _subscribe(self) -> None:
        slots, consumer = self._settings.slots, self._consumer
        consume, stop_unwanted = self._broker.consume, consumer.stop_unwanted
        self._subscriptions = [
            await consume(Queue.SURVEY, self._handle_survey, prefetch=SURVEY_PREFETCH * slots),
            await consume(Queue.WORK, self._handle_work, prefetch=slots),
            await consume(Queue.DEAD, consumer.handle_dead, prefetch=1),
            await self._broker.subscribe_control(stop_unwanted, stop_unwanted),
        ]

    async def stop(self, *, grace_seconds: float | None = None) -> None:
        """Stop taking work, let units finish within the grace period, and requeue the rest."""
        grace = self._settings.grace_seconds if grace_seconds is None else grace_seconds
        await asyncio.gather(*(subscription.cancel() for subscription in self._subscriptions))
        await self._wait_until_idle(grace)
        self._consumer.requeue_all()
        await self._wait_until_idle(REQUEUE_SECONDS)
        with contextlib.suppress(TimeoutError):  # other workers settle what is left
            async with asyncio.timeout(REQUEUE_SECONDS):
                await self._settlement.drain()
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        await asyncio.gather(self._work_pool.close(), self._survey_pool.close())
        with contextlib.suppress(errors.StoreUnavailable):
            await self._meter.drain()
            await self._heartbeat.end()
        log.info("Stopped", worker_id=self.worker_id)

    async def _handle_survey(self, delivery: Delivery) -> None:
        await self._consumer.handle(self._survey_pool, delivery)
        self._admission.wake()

    async def _handle_work(self, delivery: Delivery) -> None:
        await self._consumer.handle(self._work_pool, delivery)

    async def _wait_until_idle(self, seconds: float) -> None:
        """Wait until every delivery is settled, but no longer than this."""
        end = time.monotonic() + seconds
        while self._consumer.in_flight and time.monotonic() < end:  # noqa: ASYNC110 at most seconds
            await asyncio.sleep(0.02)

    async def _recheck_forever(self) -> None:
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            await self._consumer.stop_unwanted()


def _pools(settings: Settings) -> tuple[Pool, Pool]:
    """Return the slots for work and as many for surveys, so that a burst of either uses every core."""
    unit_seconds, memory_bytes = settings.unit_seconds, settings.memory_mb << 20
    work = ChildLimits(unit_seconds, memory_bytes, WORK_NICENESS)
    survey = ChildLimits(min(SURVEY_SECONDS, unit_seconds), memory_bytes, SURVEY_NICENESS)
    return (
        Pool(settings.slots, work, on_death=_count_death),
        Pool(settings.slots, survey, on_death=_count_death),
    )
