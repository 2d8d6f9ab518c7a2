"""What a worker does with a message: compute, load, plan, swap, publish, tell, acknowledge. In that order.

A crash between any two of these steps is mended by the broker delivering the unit again.
"""

import asyncio
import contextlib
import functools
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog
from structlog.contextvars import bound_contextvars

from common import errors
from common.broker import Broker, Delivery, queue_for
from common.domain import (
    BigInt,
    Control,
    Factorization,
    Failure,
    Fault,
    Outcome,
    Outstanding,
    Sieve,
    Solve,
    Survey,
    Unit,
)
from common.lifecycle import LEFT_BEHIND_SECONDS, Lifecycle
from common.runtime import failpoints, signals, tracing
from common.runtime.backoff import Backoff
from common.runtime.logs import about
from common.store import Store
from factor_worker import metrics, plan
from factor_worker.metering import Meter
from factor_worker.slots import compute
from factor_worker.slots.errors import SlotBroken, UnitFailed, UnitStopped
from factor_worker.slots.pool import Pool
from factor_worker.slots.slot import Slot

log = structlog.stdlib.get_logger(__name__)

Result = TypeVar("Result")

NOTE_SECONDS = 1.0
"""How often the progress of a solve unit is noted."""
PATIENCE_SECONDS = (0.1, 5.0)
"""First and longest pause between two calls to a store that does not answer."""


SHORT_BITS = 200
"""Surveys of smaller numbers take 20 ms at most."""


def _is_short(entry: Outstanding) -> bool:
    """Whether a unit may be computed along with others: a quick one that has never failed."""
    work = entry.unit.work
    return isinstance(work, Survey) and work.target.bit_length() <= SHORT_BITS and not entry.faults


@dataclass
class InHand:
    """A delivered unit that is not settled yet."""

    unit: Unit
    slot: Slot | None = None
    """Where it is computed, while it is."""


class Consumer:
    """Settles deliveries of units. One for a worker; its two kinds of slot share it."""

    def __init__(self, store: Store, broker: Broker, *, worker_id: str, sieve_digits: int) -> None:
        self._store = store
        self._lifecycle = Lifecycle(store, broker)
        self._worker_id = worker_id
        self.capacity = plan.Capacity(sieve_digits=sieve_digits)
        """With the slots of all live workers, as the last heartbeat saw them."""
        self.slowness = 1.0
        """Of this machine, see `common.domain.units.Outcome`."""
        self.in_hand: dict[int, InHand] = {}
        """By delivery: a unit that was delivered twice is here twice."""
        self.newest_issue: dict[str, float] = {}
        """By queue, when the newest unit received was issued, in seconds since the epoch."""
        self.units_done = 0
        self.meter = Meter(store)
        self._leaving = False

    async def handle(self, pool: Pool, delivery: Delivery) -> None:
        """Settle one delivery of a unit."""
        try:
            unit = Unit.decode(delivery.body)
        except errors.Malformed as error:
            metrics.MALFORMED.inc()
            log.error("A message is no unit and is dead-lettered", why=str(error))  # noqa: TRY400 expected
            await delivery.reject()
            return
        failpoints.hit("worker.received", unit.number)
        in_hand = InHand(unit)
        self.in_hand[id(in_hand)] = in_hand
        try:
            with (
                tracing.processing(unit, delivery.headers),
                bound_contextvars(unit_id=unit.unit_id, kind=unit.kind, **about(unit.number)),
            ):
                await self._settle_delivery(pool, in_hand, delivery)
        finally:
            del self.in_hand[id(in_hand)]

    async def _settle_delivery(self, pool: Pool, in_hand: InHand, delivery: Delivery) -> None:
        unit, outcome = in_hand.unit, None
        # Before there is a slot: a child must not idle while the store looks something up.
        known = await self._patiently(lambda: self._store.get_factorization(unit.number))
        entry = known.outstanding.get(unit.unit_id) if known else None
        if entry is not None:
            self._note_issue(unit, entry.issued_at)
            outcome = await self._compute(pool, in_hand, entry)
        if known is None:
            log.error("A unit of a number that the store does not know is dropped")
        elif entry is None:
            metrics.SETTLED_BEFORE.inc()
            await self._complete(known, delivery)
            await self._forget_relations(unit, known)
        elif outcome is not None:
            # A survey takes milliseconds: what was read before it is most likely still what there is.
            known = await self.settle(
                unit.number, outcome, known if isinstance(unit.work, Survey) else None
            )
            await self._forget_relations(unit, known)
        elif self.leaving():
            await delivery.requeue()
            return
        failpoints.hit("worker.settled", unit.number)
        await delivery.ack()

    def leaving(self) -> bool:
        """Whether units are given back instead of being computed."""
        return self._leaving

    def _note_issue(self, unit: Unit, issued_at: float) -> None:
        queue = queue_for(unit)
        metrics.QUEUE_SECONDS.labels(queue.value).observe(max(0.0, time.time() - issued_at))
        self.newest_issue[queue] = max(issued_at, self.newest_issue.get(queue, 0.0))

    async def _compute(self, pool: Pool, in_hand: InHand, entry: Outstanding) -> Outcome | None:
        """Return the outcome of a unit, or None if it was stopped."""
        unit = in_hand.unit
        if _is_short(entry):
            return await self._outcome(unit, pool.compute_grouped(unit.work))
        async with pool.take() as slot:
            if self.leaving():
                return None
            in_hand.slot = slot
            try:
                with metrics.SLOTS_BUSY.track_inprogress():
                    return await self._outcome(unit, self._run(slot, unit))
            finally:
                in_hand.slot = None

    async def _outcome(self, unit: Unit, computing: Awaitable[compute.Result]) -> Outcome | None:
        """Return what comes of computing a unit, or None if it was stopped."""
        started = time.monotonic()
        label = "stopped"
        try:
            result = await computing
        except UnitFailed as error:
            label = error.failure.fault.value
            log.warning("A unit failed", why=str(error))
            return Outcome(unit_id=unit.unit_id, failure=error.failure)
        except UnitStopped:
            log.info("A unit was stopped")
            return None
        except SlotBroken as error:
            label = "broken"
            # Another worker, or this one after a restart, may do better: no unit is blamed.
            log.critical("No child starts: giving back all units and ending", why=str(error))
            self.leave()
            signals.stop_this_program()
            return None
        else:
            label = "done"
            return Outcome(
                unit_id=unit.unit_id,
                worker_id=self._worker_id,
                pieces=result.pieces,
                curves=result.curves,
                sieved=result.sieved,
                counted=result.counted,
                cpu_seconds=result.cpu_seconds,
                slowness=self.slowness,
            )
        finally:
            self.units_done += 1
            metrics.UNITS.labels(unit.kind, label).inc()
            metrics.UNIT_SECONDS.labels(unit.kind).observe(time.monotonic() - started)

    async def _run(self, slot: Slot, unit: Unit) -> compute.Result:
        """Compute a unit, with what the store has to give and to take besides."""
        match unit.work:
            case Sieve(target=target):
                result = await slot.compute(unit.work)
                if result.batch is not None:
                    packed = result.batch.pack()
                    await self._patiently(
                        lambda: self._store.insert_batch(target, unit.unit_id, packed)
                    )
                return result
            case Solve(target=target):
                batches = await self._patiently(lambda: self._read_batches(target))
                watching = asyncio.create_task(self._watch_solving(slot, unit))
                try:
                    result = await slot.compute(unit.work, batches)
                finally:
                    watching.cancel()
                for unit_id, reason in result.counted.refused.items() if result.counted else ():
                    metrics.BATCHES_REFUSED.inc()
                    log.error("Relations are refused", of_unit=unit_id, why=reason)
                return result
            case _:
                return await slot.compute(unit.work)

    async def _read_batches(self, target: BigInt) -> list[tuple[str, bytes]]:
        return [batch async for batch in self._store.iterate_batches(target)]

    async def _watch_solving(self, slot: Slot, unit: Unit) -> None:
        """Note in the factorization how far a solve unit is, for people to watch."""
        noted = None
        while True:
            await asyncio.sleep(NOTE_SECONDS)
            solving = slot.progress()
            if solving is None or solving == noted:
                continue
            with contextlib.suppress(errors.StoreUnavailable):
                known = await self._lifecycle.require(unit.number)
                after = plan.note(known, unit.unit_id, solving, now=time.time())
                if after is not known and await self._store.swap_factorization(after):
                    noted = solving
                    await self._lifecycle.tell(after)

    async def _forget_relations(self, unit: Unit, known: Factorization) -> None:
        """Delete the relations of a composite that is in verified pieces; twice is harmless."""
        target = unit.work.target
        if isinstance(unit.work, Sieve | Solve) and not known.unfinished(target):
            await self._patiently(lambda: self._store.delete_batches(target))

    async def settle(
        self, number: int, outcome: Outcome, known: Factorization | None = None
    ) -> Factorization:
        """Work an outcome into the factorization, act on what follows, and return it.

        If ``known`` was read a moment ago, it is tried before the store is asked again.
        """
        tried = False
        while True:
            if known is None:
                known = await self._patiently(lambda: self._lifecycle.require(number))
            after = plan.settle(known, outcome, capacity=self.capacity, now=time.time())
            if after is known:
                if tried:  # the swap that settled it may be ours, and only its answer was lost
                    await self._follow_up(known, left_before=math.inf)
                return known
            tried = True
            if await self._patiently(functools.partial(self._store.swap_factorization, after)):
                failpoints.hit("worker.swapped", number)
                known, before = after, known
                if after.ended is not None:
                    log.info("A number has ended", status=after.ended.status.value, **about(number))
                self.meter.note(number, outcome.cpu_seconds)
                await self._drop_moot(before, after)
                await self._follow_up(after, left_before=time.time() - LEFT_BEHIND_SECONDS)
                return after
            metrics.SWAPS_LOST.inc()
            known = None

    async def _complete(self, known: Factorization, delivery: Delivery) -> None:
        """Do what was left undone if whoever settled the unit died before it could acknowledge it."""
        if delivery.redelivered:
            await self._follow_up(known, left_before=math.inf)

    async def _follow_up(self, known: Factorization, *, left_before: float) -> None:
        """Publish, end the tasks, tell: all of it can be done twice."""
        await self._patiently(
            lambda: self._lifecycle.publish_outbox(known, left_before=left_before)
        )
        failpoints.hit("worker.published", known.number)
        await self._patiently(lambda: self._lifecycle.end_live_tasks(known))
        await self._lifecycle.tell(known)

    async def _drop_moot(self, before: Factorization, after: Factorization) -> None:
        """Have other workers stop what the swap made moot (besides the unit just settled)."""
        if len(before.outstanding.keys() - after.outstanding.keys()) > 1:
            await self._lifecycle.tell_workers(after.number)

    async def handle_dead(self, delivery: Delivery) -> None:
        """Turn a dead-lettered unit into a recorded failure: the plan issues it again or gives up."""
        reason = delivery.reason or "unknown"
        metrics.DEAD_LETTERS.labels(reason).inc()
        try:
            unit = Unit.decode(delivery.body)
            named = {"unit_id": unit.unit_id, "kind": unit.kind, **about(unit.number)}
            log.warning("A unit could not be delivered", reason=reason, **named)
            failure = Failure(Fault.UNDELIVERED, f"dead-lettered: {reason}")
            known = await self.settle(unit.number, Outcome(unit_id=unit.unit_id, failure=failure))
            await self._complete(known, delivery)
        except (errors.Malformed, LookupError):
            log.exception("A dead letter is dropped", begins=repr(delivery.body[:200]))
        await delivery.ack()

    async def check_running(self, control: Control | None = None) -> None:
        """Stop the units that are not outstanding any more: all of them, or those of one number."""
        numbers = {held.unit.number for held in self.in_hand.values() if held.slot}
        for number in numbers if control is None else numbers & {control.number}:
            with contextlib.suppress(errors.StoreUnavailable):
                await self._stop_moot(number)

    async def _stop_moot(self, number: BigInt) -> None:
        known = await self._store.get_factorization(number)
        for held in list(self.in_hand.values()):
            moot = known is None or held.unit.unit_id not in known.outstanding
            if held.unit.number == number and moot and held.slot is not None:
                log.info("Stopping a unit", unit_id=held.unit.unit_id, **about(number))
                held.slot.stop()

    def leave(self) -> None:
        """Stop what runs and give it back; nothing new is begun."""
        self._leaving = True
        for held in list(self.in_hand.values()):
            if held.slot is not None:
                held.slot.stop()

    async def _patiently(self, call: Callable[[], Awaitable[Result]]) -> Result:
        """Repeat a store call until the store answers; the message stays in our hands meanwhile."""
        first, longest = PATIENCE_SECONDS
        backoff = Backoff(first=first, longest=longest)
        while True:
            try:
                return await call()
            except errors.StoreUnavailable as error:
                metrics.STORE_RETRIES.inc()
                log.warning("Waiting for the store", why=str(error))
                await backoff.pause()
