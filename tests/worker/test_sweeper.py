"""The sweeper: what was cut off is found, by the worker whose share it is in."""

import random

import pytest

from common.broker.memory import MemoryBroker
from common.domain import Cluster, Status, Task
from common.lifecycle import Lifecycle, Submission
from common.numbers import ParsedNumber
from common.runtime import failpoints
from common.store.sqlite import SqliteStore
from factor_worker import sweeper as sweeper_module
from factor_worker.heartbeat import Heartbeat
from factor_worker.sweeper import Sweeper
from tests.unit.cluster import answer
from tests.worker.workers import settlement

pytestmark = pytest.mark.usefixtures("every_number_queued")

NUMBERS = [3 * 2**exponent for exponent in range(1, 21)]


class CutOffError(Exception):
    """Stands for the death of the worker."""


async def cut_off_after_the_swap(
    store: SqliteStore, broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> list[Task]:
    """Return tasks whose numbers have ended, but whose worker has died before it could end the tasks."""
    numbers = tuple(ParsedNumber(number, str(number)) for number in NUMBERS)
    lifecycle = Lifecycle(store, broker)
    tasks = await lifecycle.accept(Submission(owner="ann", numbers=numbers))

    def die(name: str, number: int | None = None) -> None:
        del number
        if name == "worker.swapped":
            raise CutOffError

    with monkeypatch.context() as patch:
        patch.setattr(failpoints, "hit", die)
        for task in tasks:
            [entry] = (await lifecycle.require(task.key)).outstanding.values()
            with pytest.raises(CutOffError):
                await settlement(store, broker).apply(
                    task.key, answer(entry.unit, random.Random(1))
                )
    assert len(NUMBERS) == await store.count_live("ann", joined=True, limit=99)
    return tasks


def sweeper_of(store: SqliteStore, broker: MemoryBroker, worker_id: str = "w") -> Sweeper:
    """Return the sweeper of one of the workers w and x."""
    heartbeat = Heartbeat(store, worker_id=worker_id)
    heartbeat.cluster = Cluster(worker_ids=("w", "x"))
    return Sweeper(store, broker, settlement(store, broker), heartbeat)


async def test_tasks_that_missed_the_end_of_their_number_are_ended_at_start(
    sqlite_store: SqliteStore, memory_broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody reads them, and no message is delivered again: their owner gets the places back all the same."""
    tasks = await cut_off_after_the_swap(sqlite_store, memory_broker, monkeypatch)
    await sweeper_of(sqlite_store, memory_broker).sweep(ignore_age=True)

    assert 0 == await sqlite_store.count_live("ann", limit=99)
    ended = [(await sqlite_store.get_task(task.task_id, "ann")).ended for task in tasks]
    assert [Status.SUCCEEDED] * len(tasks) == [end.status for end in ended if end]


async def test_each_worker_ends_those_of_its_share(
    sqlite_store: SqliteStore, memory_broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between them they find all; what ended a moment ago is left to the worker that is at it."""
    await cut_off_after_the_swap(sqlite_store, memory_broker, monkeypatch)
    sweepers = [sweeper_of(sqlite_store, memory_broker, name) for name in ("w", "x")]
    for sweeper in sweepers:
        await sweeper.sweep()
    assert len(NUMBERS) == await sqlite_store.count_live("ann", limit=99)

    monkeypatch.setattr(sweeper_module, "LEFT_BEHIND_SECONDS", 0.0)
    await sweepers[0].sweep()
    left = await sqlite_store.count_live("ann", limit=99)
    await sweepers[1].sweep()
    assert 0 < left < len(NUMBERS)
    assert 0 == await sqlite_store.count_live("ann", limit=99)
