"""The heartbeat: a worker tells the store that it is alive, and learns from it who else is."""

import asyncio
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import structlog

from common import errors
from common.broker import Queue, queue_for
from common.domain import ALIVE_SECONDS, HEARTBEAT_SECONDS, Unit, WorkerStatus
from common.store import Store

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Cluster:
    """All live workers together, as the last heartbeat saw them."""

    slots: int = 1
    """Units that they compute at a time."""
    numbers: int = 1
    """Numbers that share these slots; those that are only being surveyed do not count."""
    worker_ids: tuple[str, ...] = ()

    @classmethod
    def of(cls, workers: Sequence[WorkerStatus]) -> Self:
        """Return the cluster that these workers form."""
        return cls(
            slots=max(1, sum(worker.slots for worker in workers)),
            numbers=max(1, len({number for worker in workers for number in worker.large})),
            worker_ids=tuple(worker.worker_id for worker in workers),
        )


@dataclass(frozen=True, slots=True)
class Activity:
    """What a worker is doing, for its next heartbeat."""

    units: tuple[Unit, ...]
    """Delivered to it and not settled yet."""
    newest_issue: dict[str, float]
    """By queue, when the newest unit that it received was issued, in seconds since the epoch."""
    units_done: int
    """Units computed since it started."""


class Heartbeat:
    """One worker's entry in the store, and its view of the others."""

    def __init__(self, store: Store, *, worker_id: str, slots: int = 1) -> None:
        self._store = store
        self._slots = slots
        self._started_at = time.time()
        self.worker_id = worker_id
        self.cluster = Cluster()
        """Replaced at each heartbeat that the store answers."""

    async def beat_forever(self, activity: Callable[[], Activity]) -> None:
        """Beat every `HEARTBEAT_SECONDS`, until cancelled."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            await self.beat(activity())

    async def beat(self, activity: Activity) -> None:
        """Report what the worker is doing and renew `cluster`; a store that is down changes nothing."""
        try:
            await self._store.heartbeat(self._status(activity))
            workers = await self._store.list_workers(seen_after=time.time() - ALIVE_SECONDS)
        except errors.StoreUnavailable as error:
            log.warning("Heartbeat skipped", why=str(error))
        else:
            self.cluster = Cluster.of(workers)

    async def end(self) -> None:
        """Remove the worker's entry, because it is about to stop.

        Raises:
            errors.StoreUnavailable: The entry stays until it is too old to count.

        """
        await self._store.remove_worker(self.worker_id)

    def _status(self, activity: Activity) -> WorkerStatus:
        large = {unit.number for unit in activity.units if queue_for(unit) is Queue.WORK}
        return WorkerStatus(
            worker_id=self.worker_id,
            host=platform.node(),
            pid=os.getpid(),
            slots=self._slots,
            running=tuple(unit.unit_id for unit in activity.units),
            large=tuple(large),
            newest_issue=activity.newest_issue,
            units_done=activity.units_done,
            started_at=self._started_at,
            seen_at=time.time(),
        )
