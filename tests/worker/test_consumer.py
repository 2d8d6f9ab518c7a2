"""What a consumer does between its store and its broker."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from common import errors
from common.broker.memory import MemoryBroker
from common.domain import (
    BigInt,
    Certainty,
    Factorization,
    Outcome,
    Outstanding,
    Sieved,
    Unit,
    factorizations,
)
from common.store.sqlite import SqliteStore
from factor_worker.consumer import Consumer
from factor_worker.plan import sieve
from tests.stack.client import semiprimes

SLOTS = 8


class SlowBroker(MemoryBroker):
    """It takes a while to confirm, as a broker on another machine does."""

    def __init__(self) -> None:
        super().__init__()
        self.published: Counter[str] = Counter()

    async def publish(self, units: Sequence[Unit]) -> None:
        """Count the units."""
        self.published.update(unit.unit_id for unit in units)
        await asyncio.sleep(0.05)
        await super().publish(units)


class ForgetfulStore(SqliteStore):
    """It does the first swap, and its answer is lost."""

    _asked = False

    async def swap_factorization(self, new: Factorization) -> bool:
        """Swap."""
        done = await super().swap_factorization(new)
        if not self._asked:
            self._asked = True
            raise errors.StoreUnavailable(TimeoutError())
        return done


def being_sieved() -> Factorization:
    """Return a number with a sieve unit in each slot."""
    [number] = semiprimes(1, digits=75, seed=3)
    blank = factorizations.begin(BigInt(number), 1.0)
    part = replace(blank.parts[0], gave_up={"ecm": "it is not the subject"})
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


async def test_workers_that_settle_at_once_publish_no_unit_twice(tmp_path: Path) -> None:
    """A unit that is published twice is computed twice: an eighth of all work, with eight workers."""
    store, broker = SqliteStore(tmp_path / "x.sqlite3"), SlowBroker()
    await store.open()
    await broker.open()
    known = await store.create_factorization(being_sieved())
    consumers = [Consumer(store, broker, worker_id=f"w{i}", sieve_digits=100) for i in range(SLOTS)]
    for consumer in consumers:
        consumer.capacity = consumer.capacity._replace(slots=SLOTS)

    async def settle(consumer: Consumer, unit_id: str, after: float) -> None:
        await asyncio.sleep(after)
        await consumer.settle(known.number, found(unit_id, known.outstanding[unit_id]))

    settling = zip(consumers, known.outstanding, range(SLOTS), strict=True)
    await asyncio.gather(
        *(settle(consumer, unit_id, 0.02 * turn) for consumer, unit_id, turn in settling)
    )
    end = await store.get_factorization(known.number)

    assert end is not None
    assert () == end.outbox
    assert broker.published.keys() == end.outstanding.keys()
    assert {1} == set(broker.published.values())
    assert end.touched_at <= time.time()
    await broker.close()
    await store.close()


async def test_units_of_a_swap_whose_answer_was_lost_are_published(tmp_path: Path) -> None:
    """Nobody else would, before they count as left behind."""
    store, broker = ForgetfulStore(tmp_path / "x.sqlite3"), SlowBroker()
    await store.open()
    await broker.open()
    known = await store.create_factorization(being_sieved())
    consumer = Consumer(store, broker, worker_id="w", sieve_digits=100)
    consumer.capacity = consumer.capacity._replace(slots=SLOTS)
    unit_id, entry = next(iter(known.outstanding.items()))

    await consumer.settle(known.number, found(unit_id, entry))
    end = await store.get_factorization(known.number)

    assert end is not None
    assert () == end.outbox
    assert broker.published.keys() == end.outstanding.keys() - known.outstanding.keys()
    await broker.close()
    await store.close()
