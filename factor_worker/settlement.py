"""Settling: an outcome is worked into its factorization, and what follows from that is done.

Theory of operation. An outcome takes these steps, in this order:

    load     the factorization, as it is in the store
    plan     compute its next version (`factor_worker.plan`). That version says what has to be done next:
             new units are in its outbox, and an ending is in `ended`.
    swap     store it, if nobody has stored another version since; otherwise load and plan again
    publish  the units in the outbox, then clear it
    claim    the factorizations of the composite parts, if the number has been split, and take in at once
             what is known of them already
    end      the tasks that waited for the number, if it has ended
    tell     the gateways that there is a new version
    pass on  what has become of the number to those numbers that wait for it, and follow up on these
    divide   other numbers by its composites, if it has just been surveyed and they share something

Only then does `factor_worker.consumer` acknowledge the message. The swap is the commit. If the worker dies
before it, nothing has happened, and the unit is delivered and computed again. If it dies after it, the
unit is no longer outstanding: whoever gets the second delivery finds that, and repeats only the steps
after the swap (`complete`), each of which can be done twice. What a number waits for and has missed, the
sweeper takes in (`catch_up`).

With many slots on one number, workers would lose most swaps to each other. Then an outcome is stored
instead, the message is acknowledged, and a moment later *all* outcomes of the number that are stored are
settled in one swap (`settle_soon`): by the worker that comes first in rendezvous hashing among those who have
stored them. The others look a little later whether theirs are gone. If not, the first ones may be dead, and
with each look twice as many workers may settle. So contention makes larger batches, and the number of swaps
is bounded by time and not by slots.

If the answer to a swap is lost, nobody knows whether it happened. The unit is then loaded and planned
again, and if it is no longer outstanding, the swap most likely did happen and its follow-up is ours.

A unit that is published twice is computed twice. So whoever swaps publishes the units of its own version
and leaves earlier ones to those who issued them, unless these have been there for so long that their
issuer must have died.
"""

import asyncio
import contextlib
import functools
import math
import random
from collections.abc import Collection, Iterable, Sequence

import structlog

from common.broker import Broker
from common.domain import (
    SHORT_DIGITS,
    Factorization,
    Outcome,
    Sieve,
    Solve,
    Solving,
    Survey,
    Unit,
    key_of,
)
from common.lifecycle import LEFT_BEHIND_SECONDS, Lifecycle
from common.runtime import failpoints
from common.runtime.backoff import jittered
from common.runtime.logs import about
from common.store import Store
from factor_worker import metrics, plan
from factor_worker.heartbeat import Heartbeat
from factor_worker.metering import Meter
from factor_worker.rendezvous import place_of
from factor_worker.retries import until_store_answers

log = structlog.stdlib.get_logger(__name__)

SHARED_UNITS = 12
"""With so many units of a number outstanding, workers would often lose swaps to each other."""
SETTLER_SECONDS = (0.05, 0.15)
"""How long the worker that has settled a number before waits for more outcomes of it."""
OTHERS_SECONDS = (0.4, 0.6)
"""How long the others wait until they look whether their outcomes have been settled."""
NEXT_SECONDS = 1.0
"""How long they wait between two looks."""
FEW_WORKERS = 50
"""If more of them work on a number, they wait longer, so that the store is not asked more often."""
MOST_FIRST = 1000
"""So many numbers are remembered as this worker's own to settle; they end unnoticed."""
PAGE = 100
"""Numbers that wait for one that are read at a time."""
MOST_OTHERS = 1000
"""So many of the numbers that are being worked on are compared with one that has been surveyed."""
MOST_OWNERS, NEWEST_TASKS = 3, 300
"""And so many of the newest tasks of so many of its owners, ended ones too."""
MOST_DIVIDED = 50
"""So many of them are split in their turn, at most."""


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
        self._stored: dict[str, set[str]] = {}
        """By number, the units whose outcomes this worker has stored and has not seen settled."""
        self._first: set[str] = set()
        """The numbers that it was to settle itself when it last looked."""
        self._settling: dict[str, asyncio.Task[None]] = {}
        self._draining = asyncio.Event()

    def is_shared(self, unit: Unit, known: Factorization) -> bool:
        """Return whether many slots work on the number of a unit, so that outcomes are settled together."""
        return len(known.outstanding) >= SHARED_UNITS and not isinstance(unit.work, Solve)

    async def settle_soon(self, known: Factorization, outcome: Outcome) -> None:
        """Store an outcome, and have it settled soon, along with others that are stored by then.

        Once this returns, the unit need not be delivered again: if this worker dies, another one settles
        its outcome along with its own, or a sweeper does.

        Args:
            known: The factorization, as it was read before the unit was computed.
            outcome: What came of the unit.

        """
        number = known.number
        await until_store_answers(functools.partial(self._store.insert_outcome, number, outcome))
        key = key_of(number)
        self._stored.setdefault(key, set()).add(outcome.unit_id)
        if key not in self._settling:
            self._settling[key] = asyncio.create_task(self._settle_stored(known))

    async def drain(self) -> None:
        """Settle everything that this worker has stored, without waiting for others: it is about to stop."""
        self._draining.set()
        while self._settling:
            await asyncio.gather(*self._settling.values(), return_exceptions=True)

    async def _settle_stored(self, known: Factorization) -> None:
        number, looks, left = known.number, 0, set[str]()
        key = key_of(number)
        try:
            while self._stored.get(key):
                asked = {
                    *self._stored[key]
                }  # what is stored from now on is not overdue at the next look
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._seconds_to_look(known, looks)):
                        await self._draining.wait()
                there = {outcome.unit_id for outcome in await self._list_outcomes(number, asked)}
                self._stored.get(key, asked).difference_update(asked - there)
                looks = looks + 1 if left & there else int(bool(there))
                left = there
                if left and await self._is_my_turn(number, looks):
                    failpoints.hit("worker.settling", number)
                    await self.settle_stored(await self._require(number))
        finally:
            self._stored.pop(key, None)
            del self._settling[key]

    def _seconds_to_look(self, known: Factorization, looks: int) -> float:
        """Return the seconds until this worker looks whether its outcomes are settled, after some looks."""
        if not looks and key_of(known.number) in self._first:
            return random.uniform(*SETTLER_SECONDS)  # noqa: S311 no secret
        seconds = jittered(NEXT_SECONDS) if looks else random.uniform(*OTHERS_SECONDS)  # noqa: S311 no secret
        concerned = min(self._heartbeat.cluster.workers, len(known.outstanding))
        return seconds * max(1.0, concerned / FEW_WORKERS)

    async def _is_my_turn(self, number: int, looks: int) -> bool:
        """Return whether this worker is among the first of those who have stored outcomes of a number."""
        workers = {outcome.worker_id for outcome in await self._list_outcomes(number)}
        key = key_of(number)
        place = place_of(self._heartbeat.worker_id, key, workers)
        self._first.discard(key)
        if place == 0:
            if len(self._first) >= MOST_FIRST:
                self._first.clear()
            self._first.add(key)
        return place < 1 << (looks - 1) or self._draining.is_set()

    async def _list_outcomes(
        self, number: int, unit_ids: Collection[str] | None = None
    ) -> list[Outcome]:
        return await until_store_answers(lambda: self._store.list_outcomes(number, unit_ids))

    async def settle_stored(self, known: Factorization) -> bool:
        """Settle all outcomes of a number that are stored, in one swap; return whether there were any.

        If another worker's swap is faster, nothing has happened: it may have settled ours.

        Args:
            known: The factorization, as it was read a moment ago.

        """
        number = known.number
        outcomes = await self._list_outcomes(number)
        fresh = [outcome for outcome in outcomes if outcome.unit_id in known.outstanding]
        if fresh:
            capacity = await self._capacity(number)
            after = plan.settle(known, *fresh, capacity=capacity, now=self._store.now())
            if not await until_store_answers(
                functools.partial(self._store.swap_factorization, after)
            ):
                metrics.SWAPS_LOST.inc()
                return True
            metrics.SETTLED_TOGETHER.observe(len(fresh))
            failpoints.hit("worker.swapped", number)
            await self._follow_swap(known, after, fresh)
            settled = {outcome.unit_id for outcome in outcomes}
            await self._delete_outcomes(number, settled)
        else:
            settled = await self._delete_left(number, outcomes) if outcomes else set()
        if known.own_part is None:  # a late unit of its sieve may have stored relations
            await self._delete_relations(number)
        self._forget_settled(known, settled)
        return bool(fresh)

    async def clear(self, number: int) -> bool:
        """Delete what is stored of a number that has ended, and return whether it was of no use.

        Whoever should have done that has died, or stored it after the end. A number that was given up
        keeps its relations: its sieve may go on.
        """
        outcomes = await self._list_outcomes(number)
        deleted = await self._delete_left(number, outcomes)
        split = (await self._require(number)).own_part is None
        if split:
            await self._delete_relations(number)
        return split or bool(deleted)

    async def forget_sieve(self, known: Factorization) -> None:
        """Delete the relations of a number that nobody works on; its sieve would begin anew.

        Args:
            known: The version in the store.

        """
        after = known.without_sieve(self._store.now())
        if await self._store.swap_factorization(after):
            await self._delete_relations(known.number)
            log.info("Relations of a sieve deleted that rested too long", **about(known.number))

    async def _delete_left(self, number: int, outcomes: Sequence[Outcome]) -> set[str]:
        """Delete those of some stored outcomes that nobody will settle; return their units."""
        # Read now, because an earlier version does not know of units that were issued after it.
        known = await self._require(number)
        left = {each.unit_id for each in outcomes if each.unit_id not in known.outstanding}
        await self._delete_outcomes(number, left)
        return left

    async def _delete_outcomes(self, number: int, unit_ids: Collection[str]) -> None:
        if unit_ids:
            await until_store_answers(
                functools.partial(self._store.delete_outcomes, number, [*unit_ids])
            )

    def _forget_settled(self, known: Factorization, settled: set[str]) -> None:
        left = self._stored.pop(key_of(known.number), set()) & known.outstanding.keys() - settled
        if left:
            self._stored[key_of(known.number)] = left

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
                known = await self._require(number)
            capacity = await self._capacity(number)
            now = self._store.now()
            after = plan.settle(known, outcome, capacity=capacity, now=now)
            others: Sequence[int] = ()
            if after is not known and _surveyed(known, outcome) and plan.has_hard(after):
                others = await self._list_others(number)
                after = plan.settle(known, outcome, capacity=capacity, now=now, others=others)
            if after is known:
                if tried:  # a swap of ours may have settled it, and only its answer was lost
                    await self.complete(known)
                return known
            tried = True
            if await until_store_answers(functools.partial(self._store.swap_factorization, after)):
                failpoints.hit("worker.swapped", number)
                followed = await self._follow_swap(known, after, [outcome])
                for other in plan.multiples(after, others)[:MOST_DIVIDED]:
                    await self._divide(other, after)
                return followed
            metrics.SWAPS_LOST.inc()
            known = None

    async def _list_others(self, number: int) -> list[int]:
        """Return numbers that a number may share factors with: those begun, and its owners' newest ones."""
        found = await until_store_answers(
            functools.partial(self._store.list_begun, after=None, limit=MOST_OTHERS)
        )
        [owners] = await until_store_answers(
            functools.partial(self._store.list_owners, [number], since=self._store.now())
        )
        for owner in sorted(owners)[:MOST_OWNERS]:
            tasks = await until_store_answers(
                functools.partial(self._store.list_tasks, owner, before=None, limit=NEWEST_TASKS)
            )
            found += [task.key for task in tasks]
        return plan.worth_comparing(found)

    async def _divide(self, number: int, by: Factorization) -> None:
        """Split a number by the composites of another one, which share something with it."""
        while known := await until_store_answers(
            functools.partial(self._store.get_factorization, number)
        ):
            capacity = await self._capacity(number)
            after = plan.divide(known, by, capacity=capacity, now=self._store.now())
            if after is known:
                return
            if await until_store_answers(functools.partial(self._store.swap_factorization, after)):
                await self._follow_swap(known, after, [])
                kept = {key_of(part) for part in after.waits_for}
                for part in (each for each in known.waits_for if key_of(each) not in kept):
                    await until_store_answers(functools.partial(self._lifecycle.release, part))
                return
            metrics.SWAPS_LOST.inc()

    async def _capacity(self, number: int) -> plan.Capacity:
        cluster, until = self._heartbeat.cluster, None
        if len(str(int(number))) > SHORT_DIGITS:
            quotas = self._meter.quotas
            until = await until_store_answers(functools.partial(quotas.rests_until, number))
        return plan.Capacity(cluster.slots, cluster.numbers, self._sieve_digits, until)

    async def go_on(self, known: Factorization) -> bool:
        """Have a number that rests go on if it may by now; return whether its next version was written."""
        capacity = await self._capacity(known.number)
        if not known.active or capacity.rests_until == known.rests_until:
            return False
        after = plan.advance(known, capacity=capacity, now=self._store.now())
        if not await until_store_answers(functools.partial(self._store.swap_factorization, after)):
            metrics.SWAPS_LOST.inc()
            return False
        await self._follow_up(after, left_before=math.inf, begin=False)
        return True

    async def list_payers(self, number: int) -> list[int]:
        """Return the numbers whose owners pay for a unit of a number that is stopped (`charge`)."""
        return await until_store_answers(functools.partial(self._meter.list_containing, number))

    def charge(self, number: int, cpu_seconds: float, payers: Iterable[int]) -> None:
        """Charge what a unit has cost whose outcome nobody will settle: it was stopped.

        Args:
            number: Whose unit it was.
            cpu_seconds: What it has cost.
            payers: What `list_payers` returned when it began: whoever cancels is no longer found.

        """
        self._meter.add(number, cpu_seconds)
        self._meter.share(number, payers)

    async def _follow_swap(
        self, before: Factorization, after: Factorization, outcomes: Sequence[Outcome]
    ) -> Factorization:
        _log_turn(before, after)
        cpu_seconds = sum(outcome.cpu_seconds for outcome in outcomes)
        self._meter.add(after.number, cpu_seconds)
        if cpu_seconds:
            self._meter.share(after.number, await self.list_payers(after.number))
        settled = {outcome.unit_id for outcome in outcomes}
        if before.outstanding.keys() - after.outstanding.keys() - settled:
            # What was settled made other units unnecessary, and other workers may be computing them.
            await self._lifecycle.tell_workers(after.number)
        if before.own_part and before.own_part.sieve and not after.own_part:
            await self._delete_relations(after.number)
        return await self._follow_up(
            after, left_before=self._store.now() - LEFT_BEHIND_SECONDS, begin=True
        )

    async def complete(self, known: Factorization) -> None:
        """Repeat what follows a swap, because whoever made the swap may have died before it was done."""
        await self._follow_up(known, left_before=math.inf, begin=False)

    async def _follow_up(
        self, known: Factorization, *, left_before: float, begin: bool
    ) -> Factorization:
        """Do what follows a version, all of which can be done twice; return the version it leads to."""
        await until_store_answers(
            lambda: self._lifecycle.publish_outbox(known, left_before=left_before)
        )
        failpoints.hit("worker.published", known.number)
        known = await self._take_in_parts(known, begin=begin)
        await until_store_answers(lambda: self._lifecycle.end_live_tasks(known))
        await self._lifecycle.tell(known)
        failpoints.hit("worker.passing-on", known.number)
        await self._pass_on(known)
        return known

    async def catch_up(self, known: Factorization) -> bool:
        """Have a number's parts worked on, and take in what it has missed; return whether there was any."""
        after = await self._take_in_parts(known, begin=False)
        if after.version == known.version:
            return False
        await self._follow_up(after, left_before=math.inf, begin=False)
        return True

    async def _take_in_parts(self, known: Factorization, *, begin: bool) -> Factorization:
        """Claim what a number waits for, and take in what is known of it; return the newest version."""
        claimed: set[str] = set()
        while fresh := [part for part in known.waits_for if key_of(part) not in claimed]:
            claimed.update(map(key_of, fresh))
            parts = await until_store_answers(
                functools.partial(self._lifecycle.claim_parts, known, fresh, begin=begin)
            )
            for part in parts:
                known = await self._take_in(known, part)
        return known

    async def _take_in(self, known: Factorization, part: Factorization) -> Factorization:
        """Swap in what has become of a part that a number waits for; return the newest version."""
        while True:
            capacity = await self._capacity(known.number)
            after = plan.take_in(known, part, capacity=capacity, now=self._store.now())
            if after is known:
                return known
            if await until_store_answers(functools.partial(self._store.swap_factorization, after)):
                _log_turn(known, after)
                return after
            metrics.SWAPS_LOST.inc()
            known = await self._require(known.number)

    async def _require(self, number: int) -> Factorization:
        return await until_store_answers(functools.partial(self._lifecycle.require, number))

    async def _pass_on(self, known: Factorization) -> None:
        """Have those numbers that wait for this one take in what has become of it."""
        if known.own_part is not None and known.ended is None:
            return
        after: int | None = None
        while page := await until_store_answers(
            functools.partial(self._store.list_waiting, known.number, after=after, limit=PAGE)
        ):
            after = page[-1].number
            self._meter.share(known.number, [waiting.number for waiting in page])
            for waiting in page:
                taken = await self._take_in(waiting, known)
                if taken is not waiting:
                    left_before = self._store.now() - LEFT_BEHIND_SECONDS
                    await self._follow_up(taken, left_before=left_before, begin=True)
        if (
            known.active
        ):  # it is split, and those who waited for it wait for its parts themselves now
            await until_store_answers(lambda: self._lifecycle.release(known.number))

    async def record_progress(self, unit: Unit, progress: Solving) -> bool:
        """Write the progress of a solve unit into its factorization, for people to watch.

        Returns whether it was written: another worker's swap may have been faster.

        Raises:
            errors.StoreUnavailable: The store does not answer.

        """
        known = await self._lifecycle.require(unit.number)
        after = plan.record_progress(known, unit.unit_id, progress, now=self._store.now())
        if after is known or not await self._store.swap_factorization(after):
            return False
        await self._lifecycle.tell(after)
        return True

    async def delete_relations(self, unit: Unit, known: Factorization) -> None:
        """Delete the relations of a number that is split, which a late unit of its sieve has stored."""
        own = unit.work.target == known.number and isinstance(unit.work, Sieve | Solve)
        if own and known.own_part is None:
            await self._delete_relations(known.number)

    async def _delete_relations(self, number: int) -> None:
        await until_store_answers(lambda: self._store.delete_batches(number))


def _surveyed(known: Factorization, outcome: Outcome) -> bool:
    entry = known.outstanding.get(outcome.unit_id)
    return entry is not None and isinstance(entry.unit.work, Survey) and outcome.failure is None


def _log_turn(before: Factorization, after: Factorization) -> None:
    """Log what an operator wants to know of a new version: it has ended, or its sieve goes wrong."""
    if after.ended is not None:
        status, reason = after.ended.status.value, after.ended.reason
        log.info("Number ended", status=status, reason=reason, **about(after.number))
    match plan.off_course(before, after):
        case None:
            return
        case plan.OffCourse.ANEW as turn:
            log.error("Sieve begins anew, because relations are missing", **about(after.number))
        case plan.OffCourse.OVERRUN as turn:
            log.error("Sieve takes three times what was forecast", **about(after.number))
        case plan.OffCourse.GIVEN_UP as turn:
            log.error("Sieve given up", **about(after.number))
    metrics.SIEVES_OFF_COURSE.labels(turn.value).inc()
