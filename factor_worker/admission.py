"""Begins the tasks that wait in the store: a bounded number for each owner, the owners taking turns.

Every owner is served by one worker, chosen by all workers alike from those that are alive. Should they
differ for a moment, two of them begin the same task, which does no harm.
"""

import asyncio
import contextlib
import hashlib
import itertools
import time

import structlog

from common import errors
from common.broker import Broker
from common.domain import Task
from common.lifecycle import Lifecycle
from common.places import places
from common.runtime.concurrency import gather_limited
from common.store import Store
from factor_worker import metrics

log = structlog.stdlib.get_logger(__name__)

BUSY_SECONDS = 0.02
"""Time between two looks while what waits finds places.

If there are none, the next look follows the next survey, or comes after a time that is doubled again
and again, since places may get free elsewhere.
"""
QUIET_SECONDS = (0.25, 2.0)
"""The same while nothing waits: at least, with one or two workers, and at most.

Numbers that wait are those of owners with many in progress, so a look follows each survey; when there
are none, as while a large number is sieved, the store is left in peace.
"""
SHARE = 4
"""Looking takes at most one part in so many of the time, lest a slow store be kept from its work.

After a look that has begun something it may be half the time: the next one gives the slots their work.
"""
LONGEST_PAUSE_SECONDS = 4.0
"""But no longer after a look that took very long: the store may be quick again."""
LEFT_SECONDS = 0.2
"""A gateway has begun a task by this time, or it leaves that to us (or it died)."""
CONCURRENT_JOINS = 64
"""Together they share commits; one after the other they would let the slots run dry."""


class Admission:
    """Begins what waits, as places get free."""

    def __init__(self, store: Store, broker: Broker, worker_id: str) -> None:
        self._store = store
        self._lifecycle = Lifecycle(store, broker)
        self._worker_id = worker_id
        self.workers: list[str] = []
        """The workers that are alive, as the last heartbeat saw them."""
        self.slots = 1
        """Of all workers together."""
        self._looked_seconds = 0.0
        """How long the last look took, what it began not included: that is work and no burden."""
        self._stirred = asyncio.Event()

    def stir(self) -> None:
        """Say that a survey is done: a place may be free, and others may have come behind it."""
        self._stirred.set()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        pause = BUSY_SECONDS
        while True:
            shortest, longest = QUIET_SECONDS
            # All workers together are no more of a burden than two.
            shortest = min(max(shortest, shortest * len(self.workers) / 2), longest)
            try:
                waiting, begun = await self.admit()
            except errors.Unavailable as error:
                log.warning("What waits is not begun", why=str(error))
                waiting, begun = True, 0
            pause = BUSY_SECONDS if begun else min(2 * pause, shortest)
            least = BUSY_SECONDS if waiting else shortest
            self._stirred.clear()
            pauses = 1 if begun else SHARE - 1
            rest = min(pauses * self._looked_seconds, LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(max(least, rest))
            if not begun:
                await self._until_stirred(pause - least if waiting else longest - shortest)
                if not waiting:  # gateways leave to us what they have no place for
                    await asyncio.sleep(LEFT_SECONDS)

    async def _until_stirred(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stirred.wait(), seconds)

    async def admit(self, *, patience: float = 1.0) -> tuple[bool, int]:
        """Begin what there are places for.

        Returns whether any owner of ours had something waiting, and how many tasks were begun.

        ``patience`` scales the age from which a task counts as left to us.
        """
        began = time.monotonic()
        before = time.time() - patience * LEFT_SECONDS
        found = await self._store.list_queues(created_before=before)
        queues = [(owner, lane) for owner, lane in found if self._serves(owner)]
        turns: list[list[Task]] = []
        for owner, lane in queues:
            most = places(lane, self.slots)
            taken = await self._store.count_live(owner, lane=lane, joined=True, limit=most)
            if most > taken:
                turns.append(
                    await self._store.list_unjoined(
                        owner, lane, created_before=before, limit=most - taken
                    )
                )
        metrics.WAITING_QUEUES.set(len(queues))
        self._looked_seconds = time.monotonic() - began
        in_turn = (task for tasks in itertools.zip_longest(*turns) for task in tasks if task)
        await gather_limited(self._begin, in_turn, limit=CONCURRENT_JOINS)
        return bool(queues), sum(map(len, turns))

    async def _begin(self, task: Task) -> None:
        await self._lifecycle.join(task)
        metrics.ADMITTED.labels(task.lane.value).inc()

    def _serves(self, owner: str) -> bool:
        """Whether the owner is ours: the largest digest with its name wins."""
        if self._worker_id not in self.workers:
            return True
        return self._worker_id == max(self.workers, key=lambda each: _rank(each, owner))


def _rank(worker_id: str, owner: str) -> bytes:
    return hashlib.sha256(f"{worker_id}\0{owner}".encode()).digest()
