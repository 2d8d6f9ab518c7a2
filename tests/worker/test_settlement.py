"""Settling: what is stored and published when outcomes are worked into a factorization."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from common import errors
from common.broker.memory import MemoryBroker
from common.domain import (
    BigInt,
    Certainty,
    Cluster,
    Control,
    Factorization,
    Failure,
    Fault,
    Outcome,
    Outstanding,
    Sieved,
    Unit,
    factorizations,
)
from common.store.sqlite import SqliteStore
from factor_worker.consumer import Consumer
from factor_worker.heartbeat import Heartbeat
from factor_worker.metering import Meter
from factor_worker.plan import sieve
from factor_worker.rendezvous import place_of
from factor_worker.settlement import SHARED_UNITS, Settlement
from tests import waiting
from tests.stack.client import semiprimes
from tests.worker.workers import settlement

SLOTS = 8


class SlowBroker(MemoryBroker):
    """A broker that takes a while to confirm, as one on another machine does."""

    def __init__(self) -> None:
        super().__init__()
        self.published: Counter[str] = Counter()

    async def publish(self, units: Sequence[Unit]) -> None:
        """Count the units."""
        self.published.update(unit.unit_id for unit in units)
        await asyncio.sleep(0.05)
        await super().publish(units)


class ForgetfulStore(SqliteStore):
    """A store that does the first swap and then loses its answer."""

    _asked = False

    async def swap_factorization(self, new: Factorization) -> bool:
        """Swap, but raise the first time."""
        done = await super().swap_factorization(new)
        if not self._asked:
            self._asked = True
            raise errors.StoreUnavailable(TimeoutError())
        return done


async def not_called() -> None:
    """Stand for what is called after a gap: a broker in memory has none."""


def being_sieved() -> Factorization:
    """Return a number with a sieve unit in each slot."""
    [number] = semiprimes(1, digits=75, seed=3)
    blank = factorizations.begin(BigInt(number), 1.0)
    part = replace(blank.parts[0], gave_up={"ecm": "this is about sieving"})
    part = replace(part, certainty=Certainty.COMPOSITE, sieve=sieve.begin(part))
    works = [work for work, _ in zip(sieve.works(part, [], SLOTS), range(SLOTS), strict=False)]
    issued = replace(blank, parts=(part,), outstanding={}, outbox=()).with_issued(works, 1.0)
    return replace(issued, outbox=(), parts=(sieve.after_issue(part, works),))


def found(unit_id: str, entry: Outstanding) -> Outcome:
    """Return what a sieve unit may have found."""
    count = getattr(entry.unit.work, "count", 1)
    return Outcome(
        unit_id=unit_id, worker_id="w", sieved=Sieved(count, 10, 90), cpu_seconds=float(count)
    )


async def test_workers_that_settle_at_the_same_time_publish_no_unit_twice(tmp_path: Path) -> None:
    """A unit that is published twice is computed twice: with eight workers that was an eighth of all work."""
    store, broker = SqliteStore(tmp_path / "x.sqlite3"), SlowBroker()
    await store.open()
    await broker.open()
    known = await store.create_factorization(being_sieved())

    async def settle(unit_id: str, after: float) -> None:
        await asyncio.sleep(after)
        outcome = found(unit_id, known.outstanding[unit_id])
        await settlement(store, broker, slots=SLOTS).apply(known.number, outcome)

    await asyncio.gather(
        *(settle(unit_id, 0.02 * turn) for turn, unit_id in enumerate(known.outstanding))
    )
    end = await store.get_factorization(known.number)

    assert end is not None
    assert () == end.outbox
    assert broker.published.keys() == end.outstanding.keys()
    assert {1} == set(broker.published.values())
    assert end.touched_at <= time.time()
    await broker.close()
    await store.close()


async def test_a_swap_whose_answer_was_lost_is_followed_up(tmp_path: Path) -> None:
    """Otherwise its units would be published only when they count as left behind."""
    store, broker = ForgetfulStore(tmp_path / "x.sqlite3"), SlowBroker()
    await store.open()
    await broker.open()
    known = await store.create_factorization(being_sieved())
    unit_id, entry = next(iter(known.outstanding.items()))

    await settlement(store, broker, slots=SLOTS).apply(known.number, found(unit_id, entry))
    end = await store.get_factorization(known.number)

    assert end is not None
    assert () == end.outbox
    assert broker.published.keys() == end.outstanding.keys() - known.outstanding.keys()
    await broker.close()
    await store.close()


async def test_many_outcomes_are_settled_by_few_swaps(tmp_path: Path) -> None:
    """Each counts once, whoever settles it, and nothing is left over."""
    store, broker = SqliteStore(tmp_path / "x.sqlite3"), SlowBroker()
    await store.open()
    await broker.open()
    known = await store.create_factorization(being_sieved())
    workers = [settlement(store, broker, slots=SLOTS) for _ in range(SLOTS)]
    outcomes = [found(unit_id, entry) for unit_id, entry in known.outstanding.items()]
    await asyncio.gather(
        *(
            worker.settle_soon(known, outcome)
            for worker, outcome in zip(workers, outcomes, strict=True)
        )
    )
    await asyncio.gather(*(worker.drain() for worker in workers))
    end = await store.get_factorization(known.number)

    assert end is not None
    assert end.parts[0].sieve is not None
    assert 10 * SLOTS == end.parts[0].sieve.full
    assert not known.outstanding.keys() & end.outstanding.keys()
    assert end.version < known.version + SLOTS
    assert [] == await store.list_outcomes(known.number)
    await broker.close()
    await store.close()


async def test_workers_are_told_only_of_units_that_have_become_unnecessary(tmp_path: Path) -> None:
    """A control message goes to every worker of the cluster, and those with units of the number read it."""
    store, broker = SqliteStore(tmp_path / "x.sqlite3"), SlowBroker()
    await store.open()
    await broker.open()
    known = await store.create_factorization(being_sieved())
    told: list[Control] = []

    async def hear(control: Control) -> None:
        told.append(control)

    await broker.subscribe_control(hear, not_called)
    first, *others = known.outstanding.items()
    for unit_id, entry in others[:3]:
        await store.insert_outcome(known.number, found(unit_id, entry))
    worker = settlement(store, broker, slots=SLOTS)
    assert await worker.settle_stored(known)
    await asyncio.sleep(0.05)
    assert [] == told

    enough = replace(found(*first), sieved=Sieved(1, full=10**6, partial=0))
    await worker.apply(known.number, enough)
    await waiting.until(lambda: [Control(number=known.number)] == told, "a control message")
    await broker.close()
    await store.close()


async def test_those_who_have_stored_outcomes_settle_them_and_wait_for_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With hundreds of numbers hardly any worker of a large cluster has a unit of a given one."""
    monkeypatch.setattr("factor_worker.settlement.OTHERS_SECONDS", (0.0, 0.0))
    monkeypatch.setattr("factor_worker.settlement.NEXT_SECONDS", 3600.0)
    store, broker = SqliteStore(tmp_path / "x.sqlite3"), SlowBroker()
    await store.open()
    await broker.open()
    known = await store.create_factorization(being_sieved())
    names = [f"worker {each}" for each in range(SLOTS)]
    first = min(names, key=lambda name: place_of(name, str(known.number), names))
    for name, (unit_id, entry) in zip(names, known.outstanding.items(), strict=True):
        heartbeat = Heartbeat(store, worker_id=name)
        heartbeat.cluster = Cluster(slots=2000, numbers=250, workers=1000)
        of = Settlement(store, broker, heartbeat, meter=Meter(store), sieve_digits=100)
        await store.insert_outcome(known.number, replace(found(unit_id, entry), worker_id=name))
        if name == first:
            await of.settle_soon(known, replace(found(unit_id, entry), worker_id=name))

    async def settled() -> bool:
        return [] == await store.list_outcomes(known.number)

    await waiting.until(settled, "the outcomes", seconds=10)
    end = await store.get_factorization(known.number)
    assert end is not None
    assert known.version + 1 == end.version
    await broker.close()
    await store.close()


async def test_what_a_dead_worker_has_stored_is_settled_by_another(tmp_path: Path) -> None:
    """Its message was acknowledged, so nobody gets the unit again."""
    store, broker = SqliteStore(tmp_path / "x.sqlite3"), SlowBroker()
    await store.open()
    await broker.open()
    known = await store.create_factorization(being_sieved())
    unit_id, entry = next(iter(known.outstanding.items()))
    await store.insert_outcome(known.number, found(unit_id, entry))

    assert await settlement(store, broker, slots=SLOTS).settle_stored(known)
    end = await store.get_factorization(known.number)
    assert end is not None
    assert unit_id not in end.outstanding
    assert [] == await store.list_outcomes(known.number)
    await broker.close()
    await store.close()


async def test_an_outcome_of_a_unit_issued_meanwhile_is_not_deleted(tmp_path: Path) -> None:
    """Whoever read the factorization before that unit was issued does not take its outcome for left over."""
    store, broker = SqliteStore(tmp_path / "x.sqlite3"), SlowBroker()
    await store.open()
    await broker.open()
    early = await store.create_factorization(being_sieved())
    [part] = early.parts
    late = early.touched(2.0).with_issued(itertools.islice(sieve.works(part, [], 1), 1), 2.0)
    assert await store.swap_factorization(late)
    [unit_id] = late.outstanding.keys() - early.outstanding.keys()
    await store.insert_outcome(early.number, found(unit_id, late.outstanding[unit_id]))

    assert not await settlement(store, broker, slots=SLOTS).settle_stored(early)
    assert [unit_id] == [each.unit_id for each in await store.list_outcomes(early.number)]
    await broker.close()
    await store.close()


async def test_a_failure_is_settled_at_once(tmp_path: Path) -> None:
    """Its unit stays outstanding: a second outcome of it could not be stored beside the first."""
    store, broker = SqliteStore(tmp_path / "x.sqlite3"), SlowBroker()
    await store.open()
    await broker.open()
    known = being_sieved()
    works = itertools.islice(sieve.works(known.parts[0], [], 1), SHARED_UNITS)
    known = await store.create_factorization(replace(known.with_issued(works, 1.0), outbox=()))
    unit_id, entry = next(iter(known.outstanding.items()))
    workers = settlement(store, broker, slots=SLOTS)
    assert workers.is_shared(entry.unit, known)
    consumer = Consumer(store, workers, worker_id="w")
    failed = Outcome(unit_id=unit_id, failure=Failure(Fault.CRASH, "on purpose"))
    await consumer._settle(entry.unit, failed, known)  # noqa: SLF001 no child has to crash for this

    end = await store.get_factorization(known.number)
    assert end is not None
    assert {Fault.CRASH: 1} == end.outstanding[unit_id].faults
    assert [] == await store.list_stored()
    await broker.close()
    await store.close()


async def test_outcomes_are_settled_although_who_should_do_it_is_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others wait for it, and then do it themselves."""
    monkeypatch.setattr("factor_worker.settlement.NEXT_SECONDS", 0.01)
    store, broker = SqliteStore(tmp_path / "x.sqlite3"), SlowBroker()
    await store.open()
    await broker.open()
    known = await store.create_factorization(being_sieved())
    dead, unit = [*known.outstanding.items()][:2]
    number = str(known.number)
    worker_id = next(name for name in "abcdef" if place_of(name, number, (name, "dead")))
    await store.insert_outcome(known.number, replace(found(*dead), worker_id="dead"))
    heartbeat = Heartbeat(store, worker_id=worker_id)
    heartbeat.cluster = Cluster(slots=SLOTS, workers=2)
    alive = Settlement(store, broker, heartbeat, meter=Meter(store), sieve_digits=100)
    await alive.settle_soon(known, replace(found(*unit), worker_id=worker_id))

    async def settled() -> bool:
        return [] == await store.list_outcomes(known.number)

    await waiting.until(settled, "the outcome", seconds=10)
    end = await store.get_factorization(known.number)
    assert end is not None
    assert not {dead[0], unit[0]} & end.outstanding.keys()
    await broker.close()
    await store.close()
