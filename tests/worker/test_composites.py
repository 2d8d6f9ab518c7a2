"""Numbers with a common composite, through the real settlement, store and broker."""

import random
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from common.broker import Delivery, Queue
from common.broker.memory import MemoryBroker
from common.domain import (
    BigInt,
    Certainty,
    Factorization,
    Part,
    Sieve,
    Status,
    Task,
    Unit,
    factorizations,
)
from common.lifecycle import Lifecycle, Submission
from common.numbers import ParsedNumber
from common.store.sqlite import SqliteStore
from factor_worker.heartbeat import Heartbeat
from factor_worker.plan import sieve
from factor_worker.settlement import Settlement
from factor_worker.sweeper import Sweeper
from tests import waiting
from tests.unit.cluster import LARGE_PRIMES, answer
from tests.worker.workers import settlement

HARD = BigInt(LARGE_PRIMES[3] * LARGE_PRIMES[4])
"""64 digits: it is sieved in units."""
OTHER = BigInt(LARGE_PRIMES[2] * LARGE_PRIMES[5])
"""67 digits."""


class Workers:
    """Compute units as `tests.unit.cluster.answer` does, and settle them as workers do."""

    def __init__(self, store: SqliteStore, broker: MemoryBroker) -> None:
        self.store = store
        self.broker = broker
        self.lifecycle = Lifecycle(store, broker)
        self.settlement = settlement(store, broker, slots=2)
        self.sieved: set[int] = set()
        self._luck = random.Random(3)

    async def submit(self, *numbers: int, owner: str = "ann") -> list[Task]:
        """Submit numbers in one request."""
        typed = tuple(ParsedNumber(number, str(number)) for number in numbers)
        return await self.lifecycle.accept(Submission(owner=owner, numbers=typed))

    async def start(self) -> None:
        """Take units from both queues."""
        for queue in (Queue.SURVEY, Queue.WORK):
            await self.broker.consume(queue, self._handle, prefetch=2)

    async def _handle(self, delivery: Delivery) -> None:
        unit = Unit.decode(delivery.body)
        if isinstance(unit.work, Sieve):
            self.sieved.add(int(unit.work.target))
        known = await self.settlement.apply(unit.number, answer(unit, self._luck))
        await self.settlement.delete_relations(unit, known)
        await delivery.ack()

    async def ended(self, task: Task) -> Task:
        """Return a task when it has ended."""

        async def look() -> bool:
            return (await self.store.get_task(task.task_id, task.owner)).ended is not None

        await waiting.until(look, f"the end of {task.number}", seconds=30)
        return await self.store.get_task(task.task_id, task.owner)

    async def sweep(self) -> None:
        """Look once at everything, as if what is not finished had been left behind."""
        heartbeat = Heartbeat(self.store, worker_id="w")
        sweeper = Sweeper(self.store, self.broker, self.settlement, heartbeat)
        await sweeper.sweep(ignore_age=True)

    async def known(self, number: int) -> Factorization:
        """Return the factorization of a number."""
        return await self.lifecycle.require(number)


@pytest.fixture
async def workers(sqlite_store: SqliteStore) -> AsyncIterator[Workers]:
    """Yield workers that have not started yet."""
    broker = MemoryBroker()
    await broker.open()
    yield Workers(sqlite_store, broker)
    await broker.close()


async def test_multiples_of_a_composite_share_its_sieve(workers: Workers) -> None:
    """Each gets its own answer, and the composite is worked on once, by its own name."""
    tasks = await workers.submit(HARD, 3 * HARD, 5 * HARD, HARD * HARD * 7)
    await workers.start()
    ends = [await workers.ended(task) for task in tasks]

    assert [Status.SUCCEEDED] * 4 == [end.ended.status for end in ends if end.ended]
    assert {int(HARD)} >= workers.sieved
    square = await workers.known(HARD * HARD * 7)
    assert {7: 1, LARGE_PRIMES[3]: 2, LARGE_PRIMES[4]: 2} == {
        int(part.value): part.exponent for part in square.parts
    }
    assert square.cpu_seconds >= (await workers.known(HARD)).cpu_seconds


async def test_cancelling_all_who_wait_rests_the_composite(workers: Workers) -> None:
    """And it goes on where it stopped when somebody asks again."""
    first, second = await workers.submit(3 * HARD, 5 * HARD)
    for task in (first, second):
        known = await workers.known(task.key)
        [survey] = [entry.unit for entry in known.outstanding.values()]
        await workers.settlement.apply(task.key, answer(survey, random.Random(1)))
    await workers.lifecycle.cancel(first)
    assert (await workers.known(HARD)).active
    await workers.lifecycle.cancel(second)
    assert not (await workers.known(HARD)).active

    [again] = await workers.submit(15 * HARD)
    await workers.start()
    assert Status.SUCCEEDED == (await workers.ended(again)).ended.status  # type: ignore[union-attr]


async def test_those_who_wait_are_swept_if_nobody_tells_them(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever split the composite died before it could."""

    async def die(_self: Settlement, _known: Factorization) -> None:
        """Do nothing: the worker is dead."""

    monkeypatch.setattr(Settlement, "_pass_on", die)
    [task] = await workers.submit(3 * HARD)
    await workers.start()

    async def split() -> bool:
        known = await workers.store.get_factorization(HARD)
        return known is not None and known.ended is not None

    await waiting.until(split, "the composite's end", seconds=30)
    assert (await workers.store.get_task(task.task_id, "ann")).ended is None
    monkeypatch.undo()
    await workers.sweep()

    assert Status.SUCCEEDED == (await workers.ended(task)).ended.status  # type: ignore[union-attr]


async def test_all_who_wait_pay_for_the_composite(workers: Workers) -> None:
    """In equal parts, whoever asked for it first."""
    tasks = [
        *(await workers.submit(3 * HARD, owner="ann")),
        *(await workers.submit(5 * HARD, owner="bob")),
    ]
    await workers.start()
    for task in tasks:
        await workers.ended(task)
    meter = workers.settlement._meter  # noqa: SLF001 a worker charges every two seconds
    await meter.charge()
    paid = [(await workers.store.get_account(owner)).cpu_seconds for owner in ("ann", "bob")]

    assert paid[0] == pytest.approx(paid[1])
    assert sum(paid) == pytest.approx((await workers.known(HARD)).cpu_seconds)


@pytest.mark.parametrize("owners", [("ann", "ann"), ("ann", "bob")])
async def test_a_composite_splits_a_multiple_that_is_being_worked_on(
    workers: Workers, owners: tuple[str, str]
) -> None:
    """The multiple is too large for a sieve, and its curves would find nothing."""
    multiple = 3 * HARD * OTHER
    [first] = await workers.submit(multiple, owner=owners[0])
    [survey] = [entry.unit for entry in (await workers.known(multiple)).outstanding.values()]
    await workers.settlement.apply(multiple, answer(survey, random.Random(1)))
    assert ((HARD * OTHER),) == (await workers.known(multiple)).waits_for
    [second] = await workers.submit(HARD, owner=owners[1])
    [survey] = [entry.unit for entry in (await workers.known(HARD)).outstanding.values()]
    await workers.settlement.apply(HARD, answer(survey, random.Random(1)))

    assert sorted([HARD, OTHER]) == sorted((await workers.known(multiple)).waits_for)
    assert not (await workers.known(HARD * OTHER)).active
    await workers.start()
    for task in (first, second):
        assert Status.SUCCEEDED == (await workers.ended(task)).ended.status  # type: ignore[union-attr]
    assert workers.sieved <= {int(HARD), int(OTHER)}


async def test_a_composite_that_its_owner_knows_splits_a_multiple(workers: Workers) -> None:
    """Its number has ended, and nothing of it is done again."""
    await workers.start()
    [first] = await workers.submit(HARD)
    await workers.ended(first)
    units = (await workers.known(HARD)).issued
    [second] = await workers.submit(HARD * OTHER)

    assert Status.SUCCEEDED == (await workers.ended(second)).ended.status  # type: ignore[union-attr]
    assert units == (await workers.known(HARD)).issued
    assert 1 == (await workers.known(HARD * OTHER)).issued


def of_an_earlier_version() -> Factorization:
    """Return 3·C as workers used to keep it: with the sieve of C, and a unit of it, inside."""
    number = BigInt(3 * HARD)
    part = Part(value=HARD, certainty=Certainty.COMPOSITE, gave_up={"ecm": "on purpose"})
    state = replace(sieve.begin(part), next_index=40, indices=30, full=800, partial=9000)
    blank = factorizations.begin(number, 1.0)
    parts = (
        Part(value=BigInt(3), certainty=Certainty.PROVEN),
        replace(part, sieve=state),
    )
    sieving = [Sieve(HARD, state.parameters, 30, 10)]
    return replace(blank, version=7, parts=parts, outstanding={}, outbox=()).with_issued(
        sieving, 1.0
    )


async def test_a_store_of_an_earlier_version_is_read_in_the_middle_of_a_sieve(
    tmp_path: Path,
) -> None:
    """What was sieved counts, the relations stay with the composite, and everybody who asked is answered."""
    path, old = tmp_path / "x.sqlite3", of_an_earlier_version()
    store, broker = SqliteStore(path), MemoryBroker()
    await store.open()
    await broker.open()
    [task] = await Workers(store, broker).submit(3 * HARD)
    await store.insert_batch(HARD, "an-old-unit", b"relations")
    await store.close()
    await broker.close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE factorizations SET body = ?, version = 7", (old.encode(),))
        db.execute("DROP TABLE waits")
        db.execute("PRAGMA user_version = 0")
    db.close()
    store, broker = SqliteStore(path), MemoryBroker()
    await store.open()
    await broker.open()
    workers = Workers(store, broker)
    assert [old.number] == [
        known.number for known in await store.list_waiting(HARD, after=None, limit=9)
    ]
    await workers.sweep()
    state = (await workers.known(HARD)).parts[0].sieve
    assert state is not None
    assert (30, 800, 40) == (state.indices, state.full, state.next_index)
    await workers.start()
    end = await workers.ended(task)

    assert end.ended is not None
    assert Status.SUCCEEDED == end.ended.status
    assert [] == [batch async for batch in store.iterate_batches(HARD)]
    await store.close()
    await broker.close()
