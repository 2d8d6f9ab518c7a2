"""The sweeper: what was cut off is found, by the worker whose share it is in."""

import math
import random

import pytest
from msgspec.structs import replace

from common.broker.memory import MemoryBroker
from common.domain import (
    BigInt,
    Certainty,
    Cluster,
    Ending,
    Outcome,
    Part,
    SieveState,
    Status,
    Task,
    factorizations,
)
from common.lifecycle import Lifecycle, Submission
from common.numbers import ParsedNumber
from common.runtime import failpoints
from common.store.sqlite import SqliteStore
from factor_worker import sweeper as sweeper_module
from factor_worker.heartbeat import Heartbeat
from factor_worker.rendezvous import shard_servers
from factor_worker.sweeper import Sweeper
from tests.unit.cluster import LARGE_PRIMES, answer
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
    heartbeat.cluster = Cluster(servers=shard_servers(("w", "x")))
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


async def test_what_ended_numbers_left_in_the_store_is_deleted(
    sqlite_store: SqliteStore, memory_broker: MemoryBroker
) -> None:
    """A worker died between the swap that ended them and the deletion, or stored something after it."""
    primes = (LARGE_PRIMES[3], LARGE_PRIMES[4])
    hard, given_up = math.prod(primes), LARGE_PRIMES[2] * LARGE_PRIMES[5]
    factors = tuple(Part(value=BigInt(prime), certainty=Certainty.PROVEN) for prime in primes)
    blank = replace(factorizations.begin(hard, 1.0), outstanding={}, outbox=())
    ending = Ending(status=Status.SUCCEEDED, at=2.0)
    await sqlite_store.create_factorization(replace(blank, parts=factors, ended=ending))
    now = sqlite_store.now()
    failed = replace(factorizations.begin(given_up, now), outstanding={}, outbox=())
    ending = Ending(status=Status.FAILED, at=2.0, reason="on purpose")
    await sqlite_store.create_factorization(replace(failed, ended=ending))
    working = await sqlite_store.create_factorization(factorizations.begin(91, 1.0))
    for number in (hard, given_up, 91):
        await sqlite_store.insert_outcome(number, Outcome(unit_id=working.outbox[0]))
        await sqlite_store.insert_batch(number, "u", b"relations")
    sweepers = [sweeper_of(sqlite_store, memory_broker, name) for name in ("w", "x")]
    for sweeper in sweepers:
        await sweeper.sweep(active=False)

    assert sorted([given_up, 91]) == sorted(await sqlite_store.list_stored())
    assert [] == await sqlite_store.list_outcomes(given_up)
    assert 1 == len(await sqlite_store.list_outcomes(91))


async def test_relations_that_rest_too_long_are_deleted(
    sqlite_store: SqliteStore, memory_broker: MemoryBroker
) -> None:
    """Asked for again, the number is sieved from the beginning, and that is no fault."""
    now, days = sqlite_store.now(), 86_400
    number = LARGE_PRIMES[2] * LARGE_PRIMES[5]
    sieved = SieveState(parameters={}, needed=9, indices=5, full=7)
    for multiple, rested_at, wanted in ((1, 29, False), (3, 31, False), (5, 31, True)):
        known = replace(factorizations.begin(multiple * number, now - rested_at * days), outbox=())
        parts = tuple(replace(part, sieve=sieved) for part in known.parts)
        known = replace(known, wanted=wanted, outstanding={}, parts=parts)
        await sqlite_store.create_factorization(known)
        await sqlite_store.insert_batch(known.number, "u", b"relations")
    for name in ("w", "x"):
        await sweeper_of(sqlite_store, memory_broker, name).sweep(active=False)

    assert [number, 5 * number] == sorted(await sqlite_store.list_stored())
    for multiple, kept in ((1, True), (3, False), (5, True)):
        after = await sqlite_store.get_factorization(multiple * number)
        assert after
        assert kept is (after.parts[0].sieve == sieved)


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
