"""What following costs: a number is read once for all its followers, and rechecks read versions."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from msgspec.structs import replace

from common import errors
from common.broker.memory import MemoryBroker
from common.domain import BigInt, Certainty, Ending, Event, Factorization, Part, Status, Task
from common.domain.factorizations import begin
from common.lifecycle import Lifecycle, new_task
from common.store.sqlite import SqliteStore
from gateway import hub as hub_module
from gateway.context import HUB
from gateway.hub import Hub
from gateway.views.representation import Views
from tests.gateway.work import ended, part

Client = TestClient[web.Request, web.Application]

HARD = BigInt((10**33 + 61) * (10**40 + 121))
FOLLOWERS = 300


class Follower:
    """Somebody who follows a task, and remembers what it was told."""

    def __init__(self) -> None:
        self.task: Task | None = None
        self.known: Factorization | None = None

    @property
    def status(self) -> Status | None:
        """How the task has ended, as far as it was told."""
        return self.task.ended.status if self.task and self.task.ended else None

    def on_change(self, task: Task, views: Views) -> None:
        """Remember a state."""
        self.task, self.known = task, views.known


async def until(condition: Any) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.002)


@pytest.fixture
def reads(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the reads of the store by method, and have them take a moment."""
    counted: Counter[str] = Counter()
    for name in ("get_task", "get_tasks", "get_factorization", "list_versions"):
        _count(store, name, counted, monkeypatch)
    return counted


def _count(
    store: SqliteStore, name: str, counted: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    method = getattr(store, name)

    async def counting(*arguments: object) -> object:
        counted[name] += 1
        await asyncio.sleep(0.002)  # as if the store were on another machine
        return await method(*arguments)

    monkeypatch.setattr(store, name, counting)


@pytest.fixture
async def hub(store: SqliteStore, broker: MemoryBroker) -> AsyncIterator[Hub]:
    """Yield a running hub."""
    hub = Hub(store, broker, Lifecycle(store, broker))
    await hub.start()
    yield hub
    await hub.stop()


async def follow(hub: Hub, store: SqliteStore, numbers: Sequence[int]) -> list[Follower]:
    """Store a task for each number, and follow it."""
    tasks = await store.insert_tasks(
        [new_task(number, "", "ann", at=store.now()) for number in numbers]
    )
    followers = [Follower() for _ in tasks]
    for task, follower in zip(tasks, followers, strict=True):
        await hub.watch(task.task_id, "ann", follower.on_change)
    return followers


async def test_all_followers_of_a_number_cost_one_read(
    hub: Hub, store: SqliteStore, broker: MemoryBroker, reads: Counter[str]
) -> None:
    """Hundreds hear of the end, and the tasks that nobody had ended yet are ended together."""
    await store.create_factorization(begin(HARD, 1.0))
    followers = await follow(hub, store, [HARD] * FOLLOWERS)
    reads.clear()
    after = ended(HARD, part(10**33 + 61), part(10**40 + 121))
    assert await store.swap_factorization(after)
    await broker.tell(Event(number=HARD, version=2, urgent=True))
    await until(lambda: all(follower.status is Status.SUCCEEDED for follower in followers))

    assert {"get_tasks": 2, "get_factorization": 1} == reads
    assert all(follower.known == after for follower in followers)


async def test_a_lost_event_is_noticed_by_the_version(
    hub: Hub, store: SqliteStore, reads: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the number that has changed is read, although all are checked, in groups."""
    monkeypatch.setattr(hub_module, "RECHECK_SECONDS", 0.05)
    monkeypatch.setattr(hub_module, "RECHECK_NUMBERS", 3)
    await hub.stop()
    await hub.start()
    numbers = [10**60 + i for i in range(10)]
    for number in numbers:
        await store.create_factorization(begin(number, 1.0))
    followers = await follow(hub, store, numbers)
    reads.clear()
    await until(lambda: reads["list_versions"] > 8)
    assert {"list_versions"} == reads.keys()
    known = await store.get_factorization(numbers[7])
    assert known is not None
    reads.clear()
    assert await store.swap_factorization(known.touched(2.0))
    await until(lambda: followers[7].known and followers[7].known.version == 2)

    assert (1, 1) == (reads["get_tasks"], reads["get_factorization"])


async def test_a_lost_event_of_a_part_is_noticed_too(
    hub: Hub, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number that waits is shown with its parts, so their versions count."""
    monkeypatch.setattr(hub_module, "RECHECK_SECONDS", 0.05)
    await hub.stop()
    await hub.start()
    triple = BigInt(3 * HARD)
    pieces = (part(3), Part(value=HARD, certainty=Certainty.COMPOSITE))
    split = replace(begin(triple, 1.0), version=2, parts=pieces, outstanding={}, outbox=())
    await store.create_factorization(split)
    composite = await store.create_factorization(begin(HARD, 1.0))
    [follower] = await follow(hub, store, [triple])
    assert await store.swap_factorization(composite.touched(2.0))
    await until(lambda: follower.known and follower.known.version == 4)

    assert follower.known == split.shown_with([composite.touched(2.0)])


async def test_a_task_that_is_cancelled_before_it_joins_is_heard_of(
    hub: Hub, store: SqliteStore, broker: MemoryBroker
) -> None:
    """Its number rests, so that there is no new version of it to tell; the event comes all the same."""
    known = await store.create_factorization(begin(HARD, 1.0))
    assert await store.swap_factorization(known.rested(2.0))
    [follower] = await follow(hub, store, [HARD])
    assert follower.task is not None
    await Lifecycle(store, broker).cancel(follower.task)
    await until(lambda: follower.status is Status.CANCELLED)

    assert Status.CANCELLED is follower.status


async def test_whoever_follows_an_ended_task_is_forgotten(hub: Hub, store: SqliteStore) -> None:
    """There is nothing more to tell."""
    await store.create_factorization(begin(HARD, 1.0))
    [task] = await store.insert_tasks([new_task(HARD, "", "ann", at=store.now())])
    await store.end_task(task.task_id, Ending(status=Status.CANCELLED, at=2.0))
    follower = Follower()
    watcher = await hub.watch(task.task_id, "ann", follower.on_change)

    assert watcher.gone
    assert follower.task is not None


@pytest.mark.usefixtures("reads")
async def test_subscribing_again_and_again_leaves_one_follower(
    client: Client, store: SqliteStore
) -> None:
    """A client that changes its mind faster than the store answers."""
    await store.create_factorization(begin(HARD, 1.0))
    [task] = await store.insert_tasks([new_task(HARD, "", "anonymous", at=store.now())])
    assert client.app is not None
    hub = client.app[HUB]
    async with client.ws_connect("/ws") as socket:
        for _ in range(20):
            await socket.send_json({"type": "subscribe", "task_ids": [task.task_id]})
            await socket.send_json({"type": "unsubscribe", "task_ids": [task.task_id]})
        await socket.send_json({"type": "subscribe", "task_ids": [task.task_id]})
        async with asyncio.timeout(20):
            while (await socket.receive_json())["type"] != "snapshot":
                pass
        await until(lambda: hub.followers == 1)
    await until(lambda: hub.followers == 0)

    assert 0 == hub.followers


@pytest.fixture
def damage(monkeypatch: pytest.MonkeyPatch) -> Callable[[object, str, str], None]:
    """Return what makes a store's method fail for whoever asks for a certain item."""

    def damaged(store: object, name: str, item: str) -> None:
        method = getattr(store, name)

        async def failing(items: Sequence[str], *rest: object) -> object:
            if item in items:
                raise errors.UnknownVersion(what="Document", got=99, known=1)
            return await method(items, *rest)

        monkeypatch.setattr(store, name, failing)

    return damaged


async def test_a_task_that_cannot_be_read_does_not_hide_the_others(
    hub: Hub, store: SqliteStore, broker: MemoryBroker, damage: Callable[[object, str, str], None]
) -> None:
    """A newer version has written one of three tasks: whoever follows the other two hears of the end."""
    await store.create_factorization(begin(HARD, 1.0))
    first, bad, last = await follow(hub, store, [HARD] * 3)
    assert bad.task is not None
    damage(store, "get_tasks", bad.task.task_id)
    for version in (2, 3):  # the reader survives it
        after = ended(HARD, part(10**33 + 61), part(10**40 + 121))
        after = replace(after, version=version) if version == 3 else begin(HARD, 1.0).touched(2.0)
        assert await store.swap_factorization(after)
        await broker.tell(Event(number=HARD, version=version, urgent=True))
        await until(lambda version=version: first.known and first.known.version == version)
    await until(lambda: last.status is Status.SUCCEEDED)

    assert Status.SUCCEEDED is first.status
    assert bad.status is None


async def test_a_number_that_cannot_be_read_does_not_end_the_rechecks(
    hub: Hub,
    store: SqliteStore,
    damage: Callable[[object, str, str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other groups of numbers are looked at as before."""
    monkeypatch.setattr(hub_module, "RECHECK_SECONDS", 0.05)
    monkeypatch.setattr(hub_module, "RECHECK_NUMBERS", 1)
    await hub.stop()
    await hub.start()
    numbers = [10**60, 10**60 + 1]
    for number in numbers:
        await store.create_factorization(begin(number, 1.0))
    followers = await follow(hub, store, numbers)
    damage(store, "list_versions", numbers[0])  # type: ignore[arg-type]
    known = await store.get_factorization(numbers[1])
    assert known is not None
    assert await store.swap_factorization(known.touched(2.0))

    await until(lambda: followers[1].known and followers[1].known.version == 2)


async def test_a_follower_that_raises_does_not_hide_the_news_from_the_others(
    hub: Hub, store: SqliteStore, broker: MemoryBroker
) -> None:
    """It is logged, and they are told."""
    await store.create_factorization(begin(HARD, 1.0))
    tasks = await store.insert_tasks([new_task(HARD, "", "ann", at=store.now()) for _ in range(3)])
    told: list[str] = []

    def on_change(task: Task, views: Views) -> None:
        if views.known and views.known.version == 2:
            told.append(task.task_id)
            raise ZeroDivisionError

    for task in tasks:
        await hub.watch(task.task_id, "ann", on_change)
    assert await store.swap_factorization(begin(HARD, 1.0).touched(2.0))
    await broker.tell(Event(number=HARD, version=2, urgent=True))
    await until(lambda: len(told) == 3)

    assert {task.task_id for task in tasks} == set(told)


async def test_several_tasks_are_looked_up_together(
    hub: Hub, store: SqliteStore, reads: Counter[str]
) -> None:
    """Each gets a watcher or an error, in order; another owner's task is an unknown one."""
    await store.create_factorization(begin(HARD, 1.0))
    mine = await store.insert_tasks([new_task(HARD, "", "ann", at=store.now()) for _ in range(100)])
    [other] = await store.insert_tasks([new_task(HARD, "", "bob", at=store.now())])
    reads.clear()
    asked = ["nobody", *(task.task_id for task in mine), other.task_id]
    found = await hub.watch_all(asked, "ann", Follower().on_change)

    assert {"get_tasks": 2, "get_factorization": 1} == reads
    assert [errors.UnknownTask] * 2 == [type(found[0]), type(found[-1])]
    assert 100 == hub.followers


async def test_a_look_up_that_is_given_up_leaves_no_follower(
    hub: Hub, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The socket closed while the numbers were being read, some of them read already."""
    numbers = [10**60 + i for i in range(20)]
    for number in numbers:
        await store.create_factorization(begin(number, 1.0))
    tasks = await store.insert_tasks(
        [new_task(number, "", "ann", at=store.now()) for number in numbers]
    )
    method, reading = store.get_factorization, asyncio.Event()

    async def endless(number: int) -> Factorization | None:
        if number == numbers[12]:
            reading.set()
            await asyncio.Event().wait()
        return await method(number)

    monkeypatch.setattr(store, "get_factorization", endless)
    asked = [task.task_id for task in tasks]
    watching = asyncio.create_task(hub.watch_all(asked, "ann", Follower().on_change))
    await reading.wait()
    assert 20 == hub.followers
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)

    assert 0 == hub.followers
