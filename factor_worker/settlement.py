"""Settling: an outcome is worked into its factorization, and what follows from that is done.

Theory of operation. An outcome takes these steps, in this order:

    load     the factorization, as it is in the store
    plan     compute its next version (`factor_worker.plan`). That version says what has to be done next:
             new units are in its outbox, and an ending is in `ended`.
    swap     store it, if nobody has stored another version since; otherwise load and plan again
    publish  the units in the outbox, then clear it
    end      the tasks that waited for the number, if it has ended
    tell     the gateways that there is a new version

Only then does `factor_worker.consumer` acknowledge the message. The swap is the commit. If the worker dies
before it, nothing has happened, and the unit is delivered and computed again. If it dies after it, the
unit is no longer outstanding: whoever gets the second delivery finds that, and repeats only the steps
after the swap (`complete`), each of which can be done twice.

If the answer to a swap is lost, nobody knows whether it happened. The unit is then loaded and planned
again, and if it is no longer outstanding, the swap most likely did happen and its follow-up is ours.

A unit that is published twice is computed twice. So whoever swaps publishes the units of its own version
and leaves earlier ones to those who issued them, unless these have been there for so long that their
issuer must have died.
"""

import functools
import math
import time

import structlog

from common.broker import Broker
from common.domain import Factorization, Outcome, Sieve, Solve, Solving, Unit
from common.lifecycle import LEFT_BEHIND_SECONDS, Lifecycle
from common.runtime import failpoints
from common.runtime.logs import about
from common.store import Store
from factor_worker import metrics, plan
from factor_worker.heartbeat import Heartbeat
from factor_worker.metering import Meter
from factor_worker.retries import until_store_answers

log = structlog.stdlib.get_logger(__name__)


class Settlement:
    """Works the outcomes of one worker's units into their factorizations."""

    def __init__(
        self,
        store: Store,
        broker: Broker,
        heartbeat: Heartbeat,
        *,
        meter: Meter,
        sieve_digits: int,
    ) -> None:
        """Create the settlement of a worker.

        Args:
            store: Where factorizations are.
            broker: Where new units are published.
            heartbeat: Knows how many slots there are to keep busy.
            meter: Told what each number has cost.
            sieve_digits: The largest composite that is sieved, in decimal digits.

        """
        self._store = store
        self._lifecycle = Lifecycle(store, broker)
        self._heartbeat = heartbeat
        self._meter = meter
        self._sieve_digits = sieve_digits

    async def apply(
        self, number: int, outcome: Outcome, known: Factorization | None = None
    ) -> Factorization:
        """Work an outcome into its factorization, do what follows, and return the factorization.

        Args:
            number: Whose factorization it is.
            outcome: What came of one of its units; it changes nothing if that unit is not outstanding.
            known: If the factorization was read a moment ago, it is tried before the store is asked.

        Raises:
            LookupError: There is no such factorization.

        """
        tried = False
        while True:
            if known is None:
                known = await until_store_answers(lambda: self._lifecycle.require(number))
            after = plan.settle(known, outcome, capacity=self._capacity(), now=time.time())
            if after is known:
                if tried:  # a swap of ours may have settled it, and only its answer was lost
                    await self.complete(known)
                return known
            tried = True
            if await until_store_answers(functools.partial(self._store.swap_factorization, after)):
                failpoints.hit("worker.swapped", number)
                await self._follow_swap(known, after, outcome)
                return after
            metrics.SWAPS_LOST.inc()
            known = None

    def _capacity(self) -> plan.Capacity:
        cluster = self._heartbeat.cluster
        return plan.Capacity(cluster.slots, cluster.numbers, self._sieve_digits)

    async def _follow_swap(
        self, before: Factorization, after: Factorization, outcome: Outcome
    ) -> None:
        if after.ended is not None:
            log.info("Number ended", status=after.ended.status.value, **about(after.number))
        self._meter.add(after.number, outcome.cpu_seconds)
        if len(before.outstanding.keys() - after.outstanding.keys()) > 1:
            # The unit just settled made others unnecessary, and other workers may be computing them.
            await self._lifecycle.tell_workers(after.number)
        await self._follow_up(after, left_before=time.time() - LEFT_BEHIND_SECONDS)

    async def complete(self, known: Factorization) -> None:
        """Repeat what follows a swap, because whoever made the swap may have died before it was done."""
        await self._follow_up(known, left_before=math.inf)

    async def _follow_up(self, known: Factorization, *, left_before: float) -> None:
        """Publish, end the tasks, tell the gateways: all of it can be done twice."""
        await until_store_answers(
            lambda: self._lifecycle.publish_outbox(known, left_before=left_before)
        )
        failpoints.hit("worker.published", known.number)
        await until_store_answers(lambda: self._lifecycle.end_live_tasks(known))
        await self._lifecycle.tell(known)

    async def record_progress(self, unit: Unit, progress: Solving) -> bool:
        """Write the progress of a solve unit into its factorization, for people to watch.

        Returns whether it was written: another worker's swap may have been faster.

        Raises:
            errors.StoreUnavailable: The store does not answer.

        """
        known = await self._lifecycle.require(unit.number)
        after = plan.record_progress(known, unit.unit_id, progress, now=time.time())
        if after is known or not await self._store.swap_factorization(after):
            return False
        await self._lifecycle.tell(after)
        return True

    async def delete_relations(self, unit: Unit, known: Factorization) -> None:
        """Delete the stored relations of a unit's target once it is factored; twice is harmless."""
        target = unit.work.target
        if isinstance(unit.work, Sieve | Solve) and not known.unfinished(target):
            await until_store_answers(lambda: self._store.delete_batches(target))
