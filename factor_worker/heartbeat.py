"""The heartbeat: a worker tells the store that it is alive, and learns from it who else is.

One worker, the keeper, knows the state of the cluster for all: it lists the workers, and writes what it has
seen into its own heartbeat, which is all that the others read: some counts, and who looks after which shard,
however many workers there are. It is the worker that looks after `KEEPERS_SHARD`, so that all agree on it
without a lease. A worker that finds nothing new from the keeper lists the workers itself. So a keeper that
dies costs the others some lists, until it no longer counts as alive and the next one takes over.
"""

import asyncio
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from common import errors
from common.broker import Queue, queue_for
from common.domain import (
    ALIVE_SECONDS,
    ALL_SHARDS,
    HEARTBEAT_SECONDS,
    Cluster,
    Unit,
    WorkerStatus,
    distinct,
)
from common.store import Store
from factor_worker.rendezvous import shard_servers

log = structlog.stdlib.get_logger(__name__)

KEEPERS_SHARD = 0
SILENT_SECONDS = 3 * HEARTBEAT_SECONDS
"""A keeper whose heartbeat has not changed for this long, by the reader's own clock, is not believed."""


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
        self._started_at = self._store.now()
        self.worker_id = worker_id
        self.cluster = Cluster()
        """Replaced at each heartbeat that the store answers; empty before the first one."""
        self._keeper = ""
        """The worker whose word about the cluster is read; none is known at first."""
        self._keepers_word = (0.0, 0.0)
        """When the keeper wrote what was read last, by its clock, and when that was read first, by ours."""

    @property
    def share(self) -> frozenset[int]:
        """The shards of numbers and owners that this worker looks after; the live workers divide them.

        It looks after all while it knows of nobody, not even of itself.
        """
        servers = self.cluster.servers
        if not servers:
            return ALL_SHARDS
        return frozenset(shard for shard in ALL_SHARDS if servers[shard] == self.worker_id)

    @property
    def _keeps(self) -> bool:
        return self.worker_id == keeper_of(self.cluster)

    async def beat_forever(self, activity: Callable[[], Activity]) -> None:
        """Beat every `HEARTBEAT_SECONDS`, until cancelled."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            await self.beat(activity())

    async def beat(self, activity: Activity) -> None:
        """Report what the worker is doing and renew `cluster`; a store that is down changes nothing."""
        try:
            if self._keeps:
                self.cluster = await self._list()
            await self._store.heartbeat(self._status(activity))
            if not self._keeps:
                self.cluster = await self._read_keeper() or await self._list()
        except errors.StoreUnavailable as error:
            log.warning("Heartbeat skipped", why=error.why)

    async def _read_keeper(self) -> Cluster | None:
        """Return what the keeper says of the cluster, or None if that cannot be believed."""
        if not self._keeper:
            return None
        status = await self._store.get_worker(self._keeper)
        if status is None or status.cluster is None:
            return None
        now = time.monotonic()
        if status.seen_at != self._keepers_word[0]:
            self._keepers_word = (status.seen_at, now)
        silent = now - self._keepers_word[1] > SILENT_SECONDS
        return None if silent or self._keeper != keeper_of(status.cluster) else status.cluster

    async def _list(self) -> Cluster:
        workers = await self._store.list_workers(seen_after=self._store.now() - ALIVE_SECONDS)
        cluster = Cluster.of(workers, shard_servers([worker.worker_id for worker in workers]))
        if self._keeper != (keeper := keeper_of(cluster)):
            self._keeper, self._keepers_word = keeper, (0.0, 0.0)
        return cluster

    async def forget_others(self) -> None:
        """Remove the entries of all other workers, because they are known to be dead.

        Raises:
            errors.StoreUnavailable: Some may be there still.

        """
        for worker in await self._store.list_workers(seen_after=0.0):
            if worker.worker_id != self.worker_id:
                await self._store.remove_worker(worker.worker_id)

    async def end(self) -> None:
        """Remove the worker's entry, because it is about to stop.

        Raises:
            errors.StoreUnavailable: The entry stays until it is too old to count.

        """
        await self._store.remove_worker(self.worker_id)

    def _status(self, activity: Activity) -> WorkerStatus:
        large = (unit.number for unit in activity.units if queue_for(unit) is Queue.WORK)
        return WorkerStatus(
            worker_id=self.worker_id,
            host=platform.node(),
            pid=os.getpid(),
            slots=self._slots,
            running=tuple(unit.unit_id for unit in activity.units),
            large=tuple(distinct(large)),
            newest_issue=activity.newest_issue,
            units_done=activity.units_done,
            started_at=self._started_at,
            seen_at=self._store.now(),
            cluster=self.cluster if self._keeps else None,
        )


def keeper_of(cluster: Cluster) -> str:
    """Return the worker who keeps the state of a cluster for the others, or "" if there are none."""
    return cluster.servers[KEEPERS_SHARD] if cluster.servers else ""
