"""Fair shares: an owner with thousands of waiting numbers delays nobody else, and nothing waits for ever."""

import asyncio
import time

import pytest
from msgspec.structs import replace

from common.broker import Delivery, Queue
from common.broker.memory import MemoryBroker
from common.domain import Cluster, Ending, Lane, Status, Task, Unit
from common.lifecycle import Lifecycle, Submission, new_task
from common.numbers import ParsedNumber
from common.places import PLACES
from common.store.sqlite import SqliteStore
from factor_worker import admission as admission_module
from factor_worker.admission import Admission
from factor_worker.heartbeat import Heartbeat
from factor_worker.rendezvous import shard_servers
from tests import waiting

pytestmark = pytest.mark.usefixtures("every_number_queued")

CROWD = 2000


class Surveyor:
    """Stands in for a worker: ends every number that is delivered, and remembers the order."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self._lifecycle = Lifecycle(store, MemoryBroker())
        self.seen: list[int] = []

    async def handle(self, delivery: Delivery) -> None:
        """End the number of a unit as a worker would."""
        number = int(Unit.decode(delivery.body).number)
        known = await self._lifecycle.require(number)
        if known.ended is None:
            ending = Ending(status=Status.FAILED, at=time.time(), reason="a test")
            known = replace(
                known, version=known.version + 1, outstanding={}, outbox=(), ended=ending
            )
            await self._store.swap_factorization(known)
        await self._lifecycle.end_live_tasks(known)
        self.seen.append(number)
        await delivery.ack()


def tasks(owner: str, numbers: range) -> list[Task]:
    """Return new tasks of an owner."""
    return [new_task(number, str(number), owner, at=1.7e9) for number in numbers]


def submission(owner: str, numbers: range) -> Submission:
    """Return what an owner submits in one request."""
    return Submission(owner=owner, numbers=tuple(ParsedNumber(n, str(n)) for n in numbers))


def admission_of(store: SqliteStore, broker: MemoryBroker) -> Admission:
    """Return the admission of the only worker."""
    return Admission(store, broker, Heartbeat(store, worker_id="w"))


def watch(admission: Admission) -> list[tuple[bool, int]]:
    """Return a list to which each look adds its result."""
    looks: list[tuple[bool, int]] = []
    admit = admission.admit

    async def noted() -> tuple[bool, int]:
        looks.append(await admit())
        return looks[-1]

    admission.admit = noted  # type: ignore[method-assign, assignment]
    return looks


async def test_a_crowd_of_one_owners_numbers_does_not_delay_another_owner(
    store: SqliteStore,
) -> None:
    """Of 2 000 earlier numbers, only as many are surveyed first as their owner has places."""
    asyncio.get_running_loop().set_debug(False)  # it would take a minute
    broker = MemoryBroker()
    await broker.open()
    surveyor, lifecycle = Surveyor(store), Lifecycle(store, broker)
    admission = admission_of(store, broker)
    crowd, lone = range(10_000, 10_000 + CROWD), range(77, 78)
    for first in range(0, CROWD, 1000):
        await lifecycle.accept(submission("ann", crowd[first : first + 1000]))
    await lifecycle.accept(submission("bob", lone))
    assert PLACES[Lane.SHORT] + 1 == await broker.depth(Queue.SURVEY)
    begun = await broker.consume(Queue.SURVEY, surveyor.handle, prefetch=1)
    running = asyncio.create_task(admission.admit_forever())
    await waiting.until(lambda: len(surveyor.seen) > CROWD, "every number", seconds=60)
    running.cancel()
    await begun.cancel()
    await broker.close()

    assert surveyor.seen.index(77) <= PLACES[Lane.SHORT]
    assert {*crowd, 77} == set(surveyor.seen)
    assert 0 == await store.count_live("ann", limit=CROWD)


async def test_owners_who_wait_take_turns(store: SqliteStore) -> None:
    """Two crowds are begun alternately, one number each."""
    broker = MemoryBroker()
    await broker.open()
    for owner, first in (("ann", 1000), ("bob", 2000)):
        await store.insert_tasks(tasks(owner, range(first, first + 100)))
    assert (True, 2 * PLACES[Lane.SHORT]) == await admission_of(store, broker).admit(
        ignore_age=True
    )
    surveyor = Surveyor(store)
    begun = await broker.consume(Queue.SURVEY, surveyor.handle, prefetch=1)
    most = 2 * PLACES[Lane.SHORT]
    await waiting.until(lambda: len(surveyor.seen) == most, "what was begun")
    await begun.cancel()
    await broker.close()

    owners = [number // 1000 for number in surveyor.seen]
    assert all(abs(owners[:n].count(1) - owners[:n].count(2)) <= 32 for n in range(most))


async def test_long_numbers_take_no_places_from_short_ones(store: SqliteStore) -> None:
    """Each lane has its own places, and a task that ends makes room for another."""
    broker = MemoryBroker()
    await broker.open()
    lifecycle = Lifecycle(store, broker)
    long = await lifecycle.accept(submission("ann", range(10**60, 10**60 + 10)))
    await lifecycle.accept(submission("ann", range(91, 92)))
    joined = [task for task in long if (await store.get_task(task.task_id, "ann")).joined]
    assert PLACES[Lane.LONG] == len(joined)
    assert 1 == await store.count_live("ann", lane=Lane.SHORT, joined=True, limit=9)

    ending = Ending(status=Status.CANCELLED, at=1.0)
    await store.end_task(joined[0].task_id, ending)
    await admission_of(store, broker).admit(ignore_age=True)
    assert PLACES[Lane.LONG] == await store.count_live("ann", lane=Lane.LONG, joined=True, limit=9)
    await broker.close()


async def test_a_slow_look_does_not_delay_the_next_one_for_long(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a look that took seconds, a fixed share of the time would mean a pause of minutes."""
    monkeypatch.setattr(admission_module, "SHARE", 10**9)
    monkeypatch.setattr(admission_module, "LONGEST_PAUSE_SECONDS", 0.1)
    broker = MemoryBroker()
    await broker.open()
    admission = admission_of(store, broker)
    looks = watch(admission)
    running = asyncio.create_task(admission.admit_forever())
    await waiting.until(lambda: len(looks) == 1, "a look")
    await store.insert_tasks(tasks("ann", range(91, 92)))
    await waiting.until(lambda: (True, 1) in looks, "what was begun")
    running.cancel()
    await broker.close()


async def test_a_quiet_worker_looks_after_each_survey(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pause is an hour here, so nothing else can make it look."""
    monkeypatch.setattr(admission_module, "QUIET_SECONDS", (0.01, 3600.0))
    broker = MemoryBroker()
    await broker.open()
    admission = admission_of(store, broker)
    looks = watch(admission)
    running = asyncio.create_task(admission.admit_forever())
    await waiting.until(lambda: looks == [(False, 0)], "the first look")
    await store.insert_tasks(tasks("ann", range(91, 92)))
    admission.wake()
    await waiting.until(lambda: looks[-1] == (True, 1), "the task begun")
    running.cancel()
    assert 1 == await broker.depth(Queue.SURVEY)
    await broker.close()


async def test_no_more_tasks_are_read_at_a_time_than_can_be_begun_soon(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster of thousands of slots has places for more tasks than one read can return in time."""
    broker = MemoryBroker()
    await broker.open()
    monkeypatch.setattr(admission_module, "TASKS_A_LOOK", 3)
    await store.insert_tasks(tasks("ann", range(101, 109)))
    admission = Admission(store, broker, Heartbeat(store, worker_id="w"))
    begun = [(await admission.admit(ignore_age=True))[1] for _ in range(4)]

    assert [3, 3, 2, 0] == begun
    await broker.close()


async def test_an_owner_is_served_by_one_of_the_live_workers(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three workers share the owners; when one of them dies, the others serve its owners too."""
    broker = MemoryBroker()
    await broker.open()
    monkeypatch.setattr(admission_module, "LEFT_SECONDS", 0.0)
    names = ["a", "b", "c"]
    heartbeats = [Heartbeat(store, worker_id=name) for name in names]
    admissions = [Admission(store, broker, heartbeat) for heartbeat in heartbeats]
    for heartbeat in heartbeats:
        heartbeat.cluster = Cluster(servers=shard_servers(names))
    for owner in range(30):
        await store.insert_tasks(tasks(f"owner-{owner}", range(100 + owner, 101 + owner)))
    await admissions[0].admit()
    first = await broker.depth(Queue.SURVEY)
    assert 0 < first < 30
    for heartbeat, admission in zip(heartbeats[:2], admissions, strict=False):
        heartbeat.cluster = Cluster(servers=shard_servers(names[:2]))
        await admission.admit()

    assert [] == await store.list_waiting_owners()
    assert 30 == await broker.depth(Queue.SURVEY)
    await broker.close()


async def test_a_waiting_task_can_be_cancelled(store: SqliteStore) -> None:
    """It is never begun, and whoever watches it is told of its end."""
    broker = MemoryBroker()
    await broker.open()
    [task] = await store.insert_tasks(tasks("ann", range(91, 92)))
    told: asyncio.Queue[int] = asyncio.Queue()

    async def hear(event: object) -> None:
        told.put_nowait(int(event.number))  # type: ignore[attr-defined]

    async def gap() -> None: ...

    subscription = await broker.subscribe_events(hear, gap)
    ended = await Lifecycle(store, broker).cancel(task)
    await admission_of(store, broker).admit(ignore_age=True)
    async with asyncio.timeout(5):
        assert 91 == await told.get()
    await subscription.cancel()

    assert ended.ended is not None
    assert 0 == await broker.depth(Queue.SURVEY)
    await broker.close()
