"""Admission: tasks that wait in the store are begun as their owners get free places, the owners in turn.

An owner is served by the worker who looks after the owner's shard, so at most `SHARDS` workers look for what
waits. If they disagree for a moment about who is alive, two of them begin the same task, which does no harm.
An owner who has used up the CPU seconds of the day (`common.quotas`) has to wait until the next one begins.
"""

import asyncio
import contextlib
import itertools
import time

import structlog

from common import errors
from common.broker import Broker
from common.domain import ALL_SHARDS, SHARDS, Task, shard_of
from common.lifecycle import Lifecycle
from common.places import places
from common.runtime.concurrency import gather_limited
from common.store import Store
from factor_worker import metrics
from factor_worker.heartbeat import Heartbeat

log = structlog.stdlib.get_logger(__name__)

BUSY_SECONDS = 0.02
"""Time between two looks at the store while the tasks that wait there find places.

If there are no places, the next look follows the next survey, or comes after a pause that doubles each
time, since places may become free elsewhere.
"""
QUIET_SECONDS = (0.25, 2.0)
"""Shortest (with one or two workers that look) and longest time between two looks while nothing waits.

Tasks wait only if their owners have many in progress, so a look follows each survey. When there are no
surveys, as while a large number is sieved, the store is left in peace.
"""
SHARE = 4
"""Looking takes at most a quarter of the time, so that a slow store is not kept from its work.

After a look that has begun something it may be half of the time: the next one gives the slots their work.
"""
LONGEST_PAUSE_SECONDS = 4.0
"""However long a look took, the next one waits no longer than this: the store may be fast again."""
LEFT_SECONDS = 0.2
"""A task that no gateway has begun after this time has been left to the workers."""
TASKS_A_LOOK = 1000
"""Tasks of one owner and lane that are read at a time. In a large cluster there are places for many more."""
CONCURRENT_JOINS = 64
"""Joins share commits when they run together; one after the other, they would let the slots run dry."""


class Admission:
    """Begins waiting tasks as places become free."""

    def __init__(self, store: Store, broker: Broker, heartbeat: Heartbeat) -> None:
        self._store = store
        self._lifecycle = Lifecycle(store, broker)
        self._heartbeat = heartbeat
        self._look_seconds = 0.0
        """How long the last look took, without beginning tasks: that is work, and no burden."""
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look soon, because a survey is done: a place may be free, and other tasks may have come."""
        self._woken.set()

    async def admit_forever(self) -> None:
        """Look again and again, until cancelled."""
        pause = BUSY_SECONDS
        while True:
            shortest, longest = QUIET_SECONDS
            if not self._heartbeat.share:
                metrics.WAITING_QUEUES.set(0)
                await asyncio.sleep(longest)
                continue
            # All workers together burden the store no more than two would.
            workers = min(self._heartbeat.cluster.workers, SHARDS)
            shortest = min(max(shortest, shortest * workers / 2), longest)
            try:
                waiting, begun = await self.admit()
            except errors.Unavailable as error:
                log.warning("Waiting tasks not begun", why=error.why)
                waiting, begun = True, 0
            pause = BUSY_SECONDS if begun else min(2 * pause, shortest)
            least = BUSY_SECONDS if waiting else shortest
            self._woken.clear()
            pauses = 1 if begun else SHARE - 1
            rest = min(pauses * self._look_seconds, LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(max(least, rest))
            if not begun:
                await self._wait_to_be_woken(pause - least if waiting else longest - shortest)
                if not waiting:  # a gateway leaves us what it has no place for, after this time
                    await asyncio.sleep(LEFT_SECONDS)

    async def _wait_to_be_woken(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), seconds)

    async def admit(self, *, ignore_age: bool = False) -> tuple[bool, int]:
        """Begin as many waiting tasks as there are places for.

        Args:
            ignore_age: Also begin tasks that are so new that their gateway may still begin them, and
                serve all owners: nobody else is at work.

        Returns:
            Whether any owner that this worker serves had tasks waiting that may be begun today, and how
            many tasks were begun.

        Raises:
            errors.Unavailable: The store does not answer.

        """
        began = time.monotonic()
        before = self._store.now() - (0 if ignore_age else LEFT_SECONDS)
        shards = ALL_SHARDS if ignore_age else self._heartbeat.share
        found = await self._store.list_waiting_owners()
        mine = [owner for owner in found if shard_of(owner) in shards]
        used_up = await self._lifecycle.quotas.used_up(mine)
        owners = [owner for owner in mine if owner not in used_up]
        queues = await self._store.list_queues(owners, created_before=before) if owners else []
        turns: list[list[Task]] = []
        for owner, lane in queues:
            allowed = places(lane, self._heartbeat.cluster.slots)
            taken = await self._store.count_live(owner, lane=lane, joined=True, limit=allowed)
            if allowed > taken:
                turns.append(
                    await self._store.list_unjoined(
                        owner,
                        lane,
                        created_before=before,
                        limit=min(allowed - taken, TASKS_A_LOOK),
                    )
                )
        metrics.WAITING_QUEUES.set(len(queues))
        self._look_seconds = time.monotonic() - began
        in_turn = (task for tasks in itertools.zip_longest(*turns) for task in tasks if task)
        await gather_limited(self._begin, in_turn, limit=CONCURRENT_JOINS)
        return bool(queues), sum(map(len, turns))

    async def _begin(self, task: Task) -> None:
        await self._lifecycle.join(task)
        metrics.ADMITTED.labels(task.lane.value).inc()
