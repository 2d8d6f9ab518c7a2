"""What a worker does with a message: decode it, have its unit computed and settled, acknowledge it.

The acknowledgement comes last. If the worker dies anywhere before it, the broker delivers the message
again, and `factor_worker.settlement` explains why that is safe.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass

import structlog
from structlog.contextvars import bound_contextvars

from common import errors
from common.broker import Delivery, queue_for
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
    distinct,
)
from common.runtime import failpoints, signals, tracing
from common.runtime.logs import about
from common.store import Store
from factor_worker import metrics
from factor_worker.heartbeat import Activity
from factor_worker.retries import until_store_answers
from factor_worker.settlement import Settlement
from factor_worker.slots import compute
from factor_worker.slots.errors import SlotBroken, UnitFailed, UnitStopped
from factor_worker.slots.pool import Pool
from factor_worker.slots.slot import Slot

log = structlog.stdlib.get_logger(__name__)

PROGRESS_SECONDS = 1.0
"""Time between two reports of a solve unit's progress."""
SHORT_BITS = 200
"""Surveys of smaller numbers take 20 ms at most."""


def _is_short(entry: Outstanding) -> bool:
    """Whether a unit may be computed in a group: it is quick and has never failed."""
    work = entry.unit.work
    return isinstance(work, Survey) and work.target.bit_length() <= SHORT_BITS and not entry.faults


@dataclass
class InFlight:
    """A delivered unit that is not settled yet."""

    unit: Unit
    slot: Slot | None = None
    """Where it is being computed, if it is and can be stopped."""
    payers: Sequence[int] = ()
    """Numbers that waited for its number when it began."""


class Consumer:
    """Takes deliveries of units. A worker has one, which serves both of its pools."""

    def __init__(self, store: Store, settlement: Settlement, *, worker_id: str) -> None:
        self._store = store
        self._settlement = settlement
        self._worker_id = worker_id
        self.slowness = 1.0
        """Of this machine, see `common.domain.units.Outcome`."""
        self.in_flight: dict[int, InFlight] = {}
        """By delivery: a unit that was delivered twice is here twice."""
        self._newest_issue: dict[str, float] = {}
        self._units_done = 0
        self._requeuing = False

    def activity(self) -> Activity:
        """Return what the worker is doing."""
        units = tuple(held.unit for held in self.in_flight.values())
        return Activity(units, dict(self._newest_issue), self._units_done)

    async def handle(self, pool: Pool, delivery: Delivery) -> None:
        """Handle a delivery of a unit, which is to be computed in this pool."""
        try:
            unit = Unit.decode(delivery.body)
        except errors.Malformed as error:
            metrics.MALFORMED.inc()
            log.error("Message dead-lettered, because it is not a unit", why=str(error))  # noqa: TRY400 expected
            await delivery.reject()
            return
        failpoints.hit("worker.received", unit.number)
        held = InFlight(unit)
        self.in_flight[id(held)] = held
        try:
            with (
                tracing.processing(unit, delivery.headers),
                bound_contextvars(unit_id=unit.unit_id, kind=unit.kind, **about(unit.number)),
            ):
                await self._settle_delivery(pool, held, delivery)
        finally:
            del self.in_flight[id(held)]

    async def _settle_delivery(self, pool: Pool, held: InFlight, delivery: Delivery) -> None:
        unit = held.unit
        # Looked up before a slot is taken: a child must not idle while the store answers.
        known = await until_store_answers(lambda: self._store.get_factorization(unit.number))
        entry = known.outstanding.get(unit.unit_id) if known else None
        if known is None:
            log.error("Unit dropped, because the store does not know its number")
        elif entry is None:
            metrics.SETTLED_BEFORE.inc()
            if delivery.redelivered:
                await self._settlement.complete(known)
            await self._settlement.delete_relations(unit, known)
        else:
            self._record_wait(unit, entry.issued_at)
            held.payers = await self._settlement.list_payers(unit.number)
            outcome = await self._compute(pool, held, entry)
            if outcome is not None:
                await self._settle(unit, outcome, known)
            elif self._requeuing:
                await delivery.requeue()
                return
        failpoints.hit("worker.settled", unit.number)
        await delivery.ack()

    async def _settle(self, unit: Unit, outcome: Outcome, known: Factorization) -> None:
        # A failed unit stays outstanding by its id, and only one outcome of each id can be stored.
        if outcome.failure is None and self._settlement.is_shared(unit, known):
            await self._settlement.settle_soon(known, outcome)
            return
        # A survey takes milliseconds, so what was read before it is most likely still current.
        fresh = known if isinstance(unit.work, Survey) else None
        known = await self._settlement.apply(unit.number, outcome, fresh)
        await self._settlement.delete_relations(unit, known)

    def _record_wait(self, unit: Unit, issued_at: float) -> None:
        queue = queue_for(unit)
        metrics.QUEUE_SECONDS.labels(queue.value).observe(max(0.0, self._store.now() - issued_at))
        self._newest_issue[queue] = max(issued_at, self._newest_issue.get(queue, 0.0))

    async def _compute(self, pool: Pool, held: InFlight, entry: Outstanding) -> Outcome | None:
        """Compute a unit; return its outcome, or None if it was stopped."""
        unit = held.unit
        if _is_short(entry):
            return await self._outcome(held, pool.compute_grouped(unit.work))
        async with pool.take() as slot:
            if self._requeuing:
                return None
            held.slot = slot
            try:
                with metrics.SLOTS_BUSY.track_inprogress():
                    return await self._outcome(held, self._compute_in_slot(slot, unit))
            finally:
                held.slot = None

    async def _outcome(
        self, held: InFlight, computing: Awaitable[compute.Result]
    ) -> Outcome | None:
        """Return what comes of computing a unit, or None if it was stopped."""
        unit = held.unit
        started = time.monotonic()
        label = "stopped"
        try:
            result = await computing
        except UnitFailed as error:
            label = error.failure.fault.value
            log.warning("Unit failed", why=str(error))
            return Outcome(
                unit_id=unit.unit_id, failure=error.failure, cpu_seconds=error.cpu_seconds
            )
        except UnitStopped as error:
            log.info("Unit stopped")
            if not self._requeuing:  # else it is computed again, and charged then
                self._settlement.charge(unit.number, error.cpu_seconds, held.payers)
            return None
        except SlotBroken as error:
            label = "broken"
            # No unit is blamed: another worker, or this one after a restart, may do better.
            log.critical("No child process starts: stopping the worker", why=str(error))
            self.requeue_all()
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
            self._units_done += 1
            metrics.UNITS.labels(unit.kind, label).inc()
            metrics.UNIT_SECONDS.labels(unit.kind).observe(time.monotonic() - started)

    async def _compute_in_slot(self, slot: Slot, unit: Unit) -> compute.Result:
        """Compute a unit, reading the relations that it needs and storing those that it found."""
        match unit.work:
            case Sieve(target=target):
                result = await slot.compute(unit.work)
                if result.batch is not None:
                    packed = result.batch.pack()
                    await until_store_answers(
                        lambda: self._store.insert_batch(target, unit.unit_id, packed)
                    )
                return result
            case Solve(target=target):
                batches = await until_store_answers(lambda: self._read_batches(target))
                reporting = asyncio.create_task(self._report_progress(slot, unit))
                try:
                    result = await slot.compute(unit.work, batches)
                finally:
                    reporting.cancel()
                for unit_id, reason in result.counted.refused.items() if result.counted else ():
                    metrics.BATCHES_REFUSED.inc()
                    log.error("Batch of relations refused", of_unit=unit_id, why=reason)
                return result
            case _:
                return await slot.compute(unit.work)

    async def _read_batches(self, target: BigInt) -> list[tuple[str, bytes]]:
        return [batch async for batch in self._store.iterate_batches(target)]

    async def _report_progress(self, slot: Slot, unit: Unit) -> None:
        """Write the progress of a solve unit into the store whenever it has changed, until cancelled."""
        reported = None
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            progress = slot.progress()
            if progress is None or progress == reported:
                continue
            with contextlib.suppress(errors.StoreUnavailable):
                if await self._settlement.record_progress(unit, progress):
                    reported = progress

    async def handle_dead(self, delivery: Delivery) -> None:
        """Turn a dead-lettered unit into a recorded failure: the plan issues it again or gives it up."""
        reason = delivery.reason or "unknown"
        metrics.DEAD_LETTERS.labels(reason).inc()
        try:
            unit = Unit.decode(delivery.body)
            named = {"unit_id": unit.unit_id, "kind": unit.kind, **about(unit.number)}
            log.warning("Unit dead-lettered", reason=reason, **named)
            failure = Failure(Fault.UNDELIVERED, f"dead-lettered: {reason}")
            outcome = Outcome(unit_id=unit.unit_id, failure=failure)
            known = await self._settlement.apply(unit.number, outcome)
            if delivery.redelivered:
                await self._settlement.complete(known)
        except (errors.Malformed, LookupError):
            log.exception("Dead letter dropped", begins=repr(delivery.body[:200]))
        await delivery.ack()

    async def stop_unwanted(self, control: Control | None = None) -> None:
        """Stop the running units that are no longer outstanding: those of one number, or all."""
        running = [held.unit.number for held in self.in_flight.values() if held.slot]
        for number in distinct(running):
            if control is not None and number != control.number:
                continue
            with contextlib.suppress(errors.StoreUnavailable):
                await self._stop_unwanted_of(number)

    async def _stop_unwanted_of(self, number: BigInt) -> None:
        known = await self._store.get_factorization(number)
        for held in list(self.in_flight.values()):
            unwanted = known is None or held.unit.unit_id not in known.outstanding
            if held.unit.number == number and unwanted and held.slot is not None:
                log.info("Stopping a unit", unit_id=held.unit.unit_id, **about(number))
                held.slot.stop()

    def requeue_all(self) -> None:
        """Stop the running units and give everything back to the broker; nothing new is computed."""
        self._requeuing = True
        for held in list(self.in_flight.values()):
            if held.slot is not None:
                held.slot.stop()
