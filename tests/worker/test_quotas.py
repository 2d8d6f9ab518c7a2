"""CPU seconds of a day: once they are used up, what waits is not begun, and long numbers rest."""

import contextlib
import functools
import random
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from msgspec.structs import replace

from common import errors
from common import quotas as quotas_module
from common.broker import Delivery, Queue
from common.broker.memory import MemoryBroker
from common.domain import (
    ApiKey,
    BigInt,
    Certainty,
    Curves,
    Factorization,
    Failure,
    Fault,
    KeyLimits,
    Outcome,
    Piece,
    Task,
    accounts,
    new_key,
)
from common.lifecycle import Lifecycle, Submission, new_task
from common.numbers import ParsedNumber
from common.store import Store
from factor_worker.admission import Admission
from factor_worker.consumer import Consumer
from factor_worker.heartbeat import Heartbeat
from factor_worker.metering import Meter
from factor_worker.slots.errors import SlotError, UnitFailed, UnitStopped
from factor_worker.sweeper import Sweeper
from gateway.views import models, representation
from tests import waiting
from tests.contract.conftest import opened_mongo
from tests.unit.cluster import LARGE_PRIMES, answer
from tests.worker.workers import settlement

HARD = BigInt(LARGE_PRIMES[3] * LARGE_PRIMES[4])
"""64 digits: it is sieved in units."""
LIMIT = 60.0
LONG = [10**90 + n for n in range(1, 8)]


@pytest.fixture
async def mongo_store(mongodb_uri: str) -> AsyncIterator[Store]:
    """Yield an empty MongoDB store."""
    async with opened_mongo(mongodb_uri) as store:
        yield store


@pytest.fixture(params=["sqlite_store", "mongo_store"])
def store(request: pytest.FixtureRequest) -> Store:
    """Return an empty store of each kind."""
    store: Store = request.getfixturevalue(request.param)
    return store


class Workers:
    """A worker without slots, in parts, which remembers nothing of quotas between two calls."""

    def __init__(self, store: Store, broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(quotas_module, "LIMITS_SECONDS", -1.0)
        monkeypatch.setattr(quotas_module, "USED_SECONDS", -1.0)
        self._monkeypatch = monkeypatch
        self.store, self.broker = store, broker
        self.lifecycle = Lifecycle(store, broker)
        self.settlement = settlement(store, broker, slots=2)
        heartbeat = Heartbeat(store, worker_id="w")
        self.admission = Admission(store, broker, heartbeat)
        self._sweeper = Sweeper(store, broker, self.settlement, heartbeat)
        self._luck = random.Random(3)

    async def give(self, owner: str, cpu_seconds: float | None, *, used: float = 0.0) -> None:
        """Make a key of an owner who may use so much in a day, and has used so much of it."""
        limits = KeyLimits(cpu_seconds_a_day=cpu_seconds)
        await self.store.insert_key(new_key(owner, limits=limits, now=1.0).key)
        await self.charge(owner, used)

    async def charge(self, owner: str, cpu_seconds: float) -> None:
        """Charge an owner."""
        account = await self.store.get_account(owner)
        assert await self.store.swap_account(
            accounts.charge(account, cpu_seconds, self.store.now())
        )

    async def submit(self, number: int, owner: str) -> Task:
        """Submit a number."""
        typed = (ParsedNumber(number, str(number)),)
        [task] = await self.lifecycle.accept(Submission(owner=owner, numbers=typed))
        return task

    async def known(self, number: int = HARD) -> Factorization:
        """Return what is known of a number."""
        return await self.lifecycle.require(number)

    async def settle(self, number: int = HARD, *, units: int) -> Factorization:
        """Settle so many units of a number, or as many as there are until none is outstanding."""
        for _ in range(units):
            known = await self.known(number)
            if not known.outstanding:
                break
            unit = next(iter(known.outstanding.values())).unit
            outcome = answer(unit, self._luck)
            if isinstance(unit.work, Curves):  # which find nothing, so that it is sieved
                outcome = Outcome(unit_id=unit.unit_id, curves=unit.work.count)
            await self.settlement.apply(number, outcome)
        return await self.known(number)

    async def sweep(self) -> Factorization:
        """Sweep as if nobody else were at work; return what is known of the hard number then."""
        for queue in (Queue.SURVEY, Queue.WORK):  # as if another worker had received the units
            subscription = await self.broker.consume(queue, Delivery.ack, prefetch=1000)
            await waiting.until(functools.partial(self._is_empty, queue), "an empty queue")
            await subscription.cancel()
        await self._sweeper.sweep(ignore_age=True)
        return await self.known()

    async def _is_empty(self, queue: Queue) -> bool:
        return await self.broker.depth(queue) == 0

    async def waits(self, task: Task) -> models.Waiting | None:
        """Return what a task shows of why it waits."""
        return representation.view(*await self.lifecycle.read(task.task_id, task.owner)).waiting

    def tomorrow(self) -> None:
        """Let the next day begin."""
        now = self.store.now
        self._monkeypatch.setattr(self.store, "now", lambda: now() + accounts.DAY_SECONDS)


@pytest.fixture
def workers(store: Store, broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch) -> Workers:
    """Return a worker."""
    return Workers(store, broker, monkeypatch)


async def test_what_waits_is_not_begun_once_the_cpu_seconds_are_used_up(workers: Workers) -> None:
    """Another owner's task is begun. The task says why it waits and until when, and is begun the next day."""
    await workers.give("ann", LIMIT, used=LIMIT)
    await workers.give("bob", None, used=10 * LIMIT)
    tasks = [new_task(n, str(n), "ann", at=workers.store.now()) for n in LONG] + [
        new_task(LONG[0] + 100, "n", "bob", at=workers.store.now())
    ]
    await workers.store.insert_tasks(tasks)

    assert (True, 1) == await workers.admission.admit(ignore_age=True)
    assert (False, 0) == await workers.admission.admit(ignore_age=True)
    shown = await workers.waits(tasks[0])
    assert shown is not None
    assert "cpu-used-up" == shown.why
    assert "CPU seconds are used up" in shown.detail
    assert shown.until.endswith("T00:00:00.000+00:00")
    assert await workers.waits(tasks[-1]) is None

    workers.tomorrow()
    assert (True, 4) == await workers.admission.admit(ignore_age=True)
    assert await workers.waits(tasks[0]) is None


async def test_a_key_with_a_larger_limit_lets_what_waits_begin_today(workers: Workers) -> None:
    """The largest limit of the keys of an owner that are valid counts."""
    await workers.give("ann", LIMIT, used=LIMIT)
    await workers.store.insert_tasks(
        [new_task(n, str(n), "ann", at=workers.store.now()) for n in LONG]
    )
    assert (False, 0) == await workers.admission.admit(ignore_age=True)
    await workers.give("ann", 10 * LIMIT)

    assert (True, 4) == await workers.admission.admit(ignore_age=True)


async def test_a_worker_that_may_not_read_keys_begins_what_waits(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its role may be that of an earlier version, whose workers knew of no limits."""

    async def refuse() -> list[ApiKey]:
        raise errors.StoreUnavailable("not authorized")

    await workers.give("ann", LIMIT, used=LIMIT)
    await workers.store.insert_tasks(
        [new_task(n, "n", "ann", at=workers.store.now()) for n in LONG]
    )
    monkeypatch.setattr(workers.store, "list_keys", refuse)

    assert (True, 4) == await workers.admission.admit(ignore_age=True)


async def test_a_long_number_rests_until_its_owner_has_cpu_seconds_again(workers: Workers) -> None:
    """What is outstanding is settled, nothing is issued, and the next day it goes on to its end by itself."""
    await workers.give("ann", LIMIT)
    task = await workers.submit(HARD, "ann")
    assert (await workers.settle(units=3)).outstanding
    await workers.charge("ann", LIMIT)

    resting = await workers.settle(units=99)
    assert not resting.outstanding
    assert resting.ended is None
    assert resting.rests_until is not None
    assert resting == await workers.sweep()
    shown = await workers.waits(task)
    assert shown is not None
    assert "goes on by itself after" in shown.detail

    workers.tomorrow()
    assert (await workers.sweep()).outstanding
    assert await workers.waits(task) is None
    assert (await workers.settle(units=999)).ended is not None


@pytest.mark.parametrize("number", [HARD, 3 * HARD])
async def test_a_number_goes_on_if_one_of_its_owners_has_cpu_seconds(
    workers: Workers, number: int
) -> None:
    """She may want the number itself, or one that contains it and waits for it."""
    await workers.give("ann", LIMIT)
    await workers.give("bob", LIMIT)
    await workers.submit(HARD, "ann")
    await workers.settle(units=3)
    await workers.charge("ann", LIMIT)
    assert (await workers.settle(units=99)).rests_until
    await workers.submit(number, "bob")
    if number != HARD:
        await workers.settle(number, units=9)

    assert (await workers.sweep()).outstanding


async def test_a_short_number_never_rests(workers: Workers) -> None:
    """It needs a second at most, and is worth no look at its owners."""
    await workers.give("ann", LIMIT, used=LIMIT)
    number = BigInt((10**22 + 9) * (10**21 + 117))
    await workers.submit(number, "ann")
    [unit_id] = (await workers.known(number)).outstanding
    found = (Piece(number, 1, Certainty.COMPOSITE),)
    known = await workers.settlement.apply(number, Outcome(unit_id=unit_id, pieces=found))

    assert ["whole"] == [entry.unit.kind for entry in known.outstanding.values()]


async def test_whoever_has_nothing_left_takes_no_part_of_the_bill(workers: Workers) -> None:
    """Else an owner could share each of its numbers with others who are at their limits, and pay little."""
    await workers.give("ann", LIMIT, used=LIMIT)
    await workers.give("bob", 10 * LIMIT)
    for owner in ("ann", "bob"):
        await workers.store.insert_tasks([new_task(HARD, "n", owner, at=workers.store.now())])
    meter = Meter(workers.store)
    meter.add(HARD, 8.0)
    await meter.charge()
    used = [
        (await workers.store.get_account(owner)).cpu_today(workers.store.now())
        for owner in ("ann", "bob")
    ]

    assert [LIMIT, 8.0] == used


@pytest.mark.parametrize("stopped", [True, False])
async def test_whoever_cancels_before_the_charge_pays_for_a_composite_all_the_same(
    workers: Workers,
    stopped: bool,  # noqa: FBT001 a case
) -> None:
    """Else one could ask for 3·C, cancel whenever a unit of C has ended, and ask again, for nothing."""
    await workers.give("ann", LIMIT)
    task = await workers.submit(3 * HARD, "ann")
    await workers.settle(3 * HARD, units=9)
    if stopped:
        payers = await workers.settlement.list_payers(HARD)
        await workers.lifecycle.cancel(task)
        workers.settlement.charge(HARD, 8.0, payers)
    else:
        entry = next(iter((await workers.known()).outstanding.values()))
        outcome = replace(answer(entry.unit, random.Random(1)), cpu_seconds=8.0)
        await workers.settlement.apply(HARD, outcome)
        await workers.lifecycle.cancel(task)
    await workers.settlement._meter.charge()  # noqa: SLF001 a worker charges every two seconds

    assert 8.0 == (await workers.store.get_account("ann")).cpu_today(workers.store.now())


class _Slots:
    """Stands in for a pool whose slots all end in the same way."""

    def __init__(self, error: SlotError) -> None:
        self._error = error

    @contextlib.asynccontextmanager
    async def take(self) -> AsyncIterator["_Slots"]:
        """Lend the only slot."""
        yield self

    async def compute(self, *_work: object) -> None:
        """Fail."""
        raise self._error


@pytest.mark.parametrize(
    "error", [UnitFailed(Failure(Fault.TIMEOUT, "no result after 900 s")), UnitStopped()]
)
async def test_units_that_failed_or_were_stopped_are_charged(
    workers: Workers, error: SlotError
) -> None:
    """Their machine was busy all the same."""
    error.cpu_seconds = 900.0
    task = await workers.submit(HARD, "ann")
    consumer = Consumer(workers.store, workers.settlement, worker_id="w")
    pool = cast("Any", _Slots(error))
    handled: list[int] = []

    async def handle(delivery: Delivery) -> None:
        if not handled:
            handled.append(1)
            await consumer.handle(pool, delivery)
            handled.append(2)

    await workers.broker.consume(Queue.SURVEY, handle, prefetch=1)
    await waiting.until(lambda: len(handled) > 1, "the unit")
    await workers.settlement._meter.charge()  # noqa: SLF001 a worker charges every two seconds

    assert 900.0 == (await workers.store.get_account(task.owner)).cpu_today(workers.store.now())
