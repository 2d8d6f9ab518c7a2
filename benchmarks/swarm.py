"""How many slots can work on one number before settling what they find holds them up?

    python -m benchmarks.swarm --slots 100 300 1000 3000
    python -m benchmarks.swarm --slots 300 --mongo      over the MongoDB stand-in instead of SQLite

Slots are simulated: a unit takes five seconds and returns a batch of relations, without computing. What
happens around it is real: receiving, storing, planning, swapping and publishing, by workers of eight slots,
over a real store and the memory broker. All of it runs in this one process, so the CPU time is that of all
workers.
"""

import argparse
import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from msgspec.structs import replace

from common.broker import Delivery, Queue
from common.broker.memory import MemoryBroker
from common.domain import (
    BigInt,
    Certainty,
    Cluster,
    Outcome,
    Piece,
    RelationBatch,
    Sieve,
    Sieved,
    Work,
    factorizations,
)
from common.lifecycle import Lifecycle, new_task
from common.runtime.backoff import jittered
from common.store import Store
from common.store.mongo import MongoStore
from common.store.sqlite import SqliteStore
from factor_worker import metrics
from factor_worker.consumer import Consumer
from factor_worker.heartbeat import Heartbeat
from factor_worker.metering import Meter
from factor_worker.plan import sieve
from factor_worker.settlement import Settlement
from factor_worker.slots import compute
from infra.local.mongo import MongoServer

if TYPE_CHECKING:
    from factor_worker.slots.pool import Pool

NUMBER = BigInt((10**49 + 9) * (10**49 + 57))
"""98 digits."""
UNIT_SECONDS = 5.0
SLOTS_A_WORKER = 8
WARM_UP_SECONDS = 12.0
MEASURED_SECONDS = 20.0
RELATIONS = bytes(20_000)


class Sleeper:
    """A slot whose child sleeps."""

    async def compute(self, work: Work, _batches: object = ()) -> compute.Result:
        """Return after the time of a unit what one finds."""
        if not isinstance(work, Sieve):
            raise TypeError(f"only sieve units are expected here, not {work}")
        await asyncio.sleep(jittered(UNIT_SECONDS))
        batch = RelationBatch(work.first, work.count, RELATIONS)
        sieved = Sieved(work.count, full=1, partial=9)
        return compute.Result(sieved=sieved, batch=batch, cpu_seconds=UNIT_SECONDS)

    def stop(self) -> None:
        """Do nothing: nobody cancels here."""


class Sleepers:
    """A pool of them."""

    def __init__(self, count: int) -> None:
        self._free = asyncio.Semaphore(count)

    @contextlib.asynccontextmanager
    async def take(self) -> AsyncIterator[Sleeper]:
        """Wait for a free one."""
        async with self._free:
            yield Sleeper()


class Counting:
    """A store that counts its calls."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        """Return a method of the store that is counted when it is called."""
        method = getattr(self._store, name)

        def call(*args: Any, **named: Any) -> Any:
            self.calls[name] += 1
            return method(*args, **named)

        return call


class Reading(NamedTuple):
    """Counters at some moment."""

    at: float
    cpu: float
    settled: float
    swaps: float
    lost: float
    calls: int


def read(store: Counting) -> Reading:
    """Return the counters as they are now."""
    batches = next(iter(metrics.SETTLED_TOGETHER.collect())).samples
    values = {sample.name: sample.value for sample in batches}
    lost = next(iter(metrics.SWAPS_LOST.collect())).samples[0].value
    return Reading(
        time.monotonic(),
        time.process_time(),
        values["factorline_settled_together_sum"],
        values["factorline_settled_together_count"],
        lost,
        store.calls.total(),
    )


async def begin(store: Store) -> None:
    """Submit the number, with a sieve that never ends."""
    part = factorizations.begin(NUMBER, 1.0).parts[0]
    part = replace(part, certainty=Certainty.COMPOSITE, gave_up={"ecm": "this is about sieving"})
    state = replace(sieve.begin(part), forecast_indices=1 << 40, needed=1 << 40)
    known = replace(factorizations.begin(NUMBER, 1.0), parts=(replace(part, sieve=state),))
    await store.create_factorization(known)
    await store.insert_tasks([replace(new_task(NUMBER, "C98", "ann", at=store.now()), joined=True)])


def worker(store: Store, broker: MemoryBroker, names: Sequence[str], name: str) -> Consumer:
    """Return one worker of a cluster."""
    heartbeat = Heartbeat(store, worker_id=name, slots=SLOTS_A_WORKER)
    heartbeat.cluster = Cluster(slots=SLOTS_A_WORKER * len(names), worker_ids=tuple(names))
    settlement = Settlement(store, broker, heartbeat, meter=Meter(store), sieve_digits=100)
    return Consumer(store, settlement, worker_id=name)


async def measure(store: Counting, slots: int) -> None:
    """Print a line for so many slots."""
    broker = MemoryBroker()
    await broker.open()
    counted = cast("Store", store)
    await begin(counted)
    known = await Lifecycle(counted, broker).require(NUMBER)
    names = [f"w{number}" for number in range(-(-slots // SLOTS_A_WORKER))]
    first = worker(counted, broker, names, names[0])
    [survey] = known.outstanding
    found = Outcome(unit_id=survey, pieces=(Piece(NUMBER, 1, Certainty.COMPOSITE),))
    await first._settlement.apply(NUMBER, found)  # noqa: SLF001 its survey is not what is measured
    for name in names:
        await consume(broker, worker(counted, broker, names, name))
    await asyncio.sleep(WARM_UP_SECONDS)
    before = read(store)
    await asyncio.sleep(MEASURED_SECONDS)
    after = read(store)
    known = await Lifecycle(counted, broker).require(NUMBER)
    seconds = after.at - before.at
    settled, swaps = after.settled - before.settled, after.swaps - before.swaps
    lost, wanted = after.lost - before.lost, SLOTS_A_WORKER * len(names) / UNIT_SECONDS
    print(
        f"{slots:6} {settled / seconds:10.1f} {wanted:9.1f} {settled / seconds / wanted:7.1%}"
        f" {swaps / seconds:9.1f} {lost / max(1, swaps + lost):7.1%}"
        f" {len(known.encode()) / 1024:9.1f} {(after.calls - before.calls) / seconds:9.0f}"
        f" {1000 * (after.cpu - before.cpu) / max(1, settled):9.2f}",
        flush=True,
    )
    await broker.close()


async def consume(broker: MemoryBroker, consumer: Consumer) -> None:
    """Have a worker take units."""
    pool = cast("Pool", Sleepers(SLOTS_A_WORKER))

    async def handle(delivery: Delivery) -> None:
        await consumer.handle(pool, delivery)

    await broker.consume(Queue.WORK, handle, prefetch=SLOTS_A_WORKER)


@contextlib.asynccontextmanager
async def opened(*, mongo: bool) -> AsyncIterator[Store]:
    """Yield an empty store."""
    with TemporaryDirectory() as folder:
        async with contextlib.AsyncExitStack() as stack:
            store: Store
            if mongo:
                server = await stack.enter_async_context(MongoServer(Path(folder)))
                store = MongoStore(server.uri)
            else:
                store = SqliteStore(Path(folder) / "x.sqlite3")
            await store.open()
            yield store
            await store.close()


async def stop_everything() -> None:
    """End the units that are still in the workers' hands: they would burden the next measurement."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


async def main() -> None:
    """Measure each number of slots that was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--slots", type=int, nargs="+", default=[100, 300, 1000, 3000])
    parser.add_argument("--mongo", action="store_true", help="use the MongoDB stand-in")
    asked = parser.parse_args()
    print(" slots  settled/s    wanted   share   swaps/s    lost  KiB doc.   calls/s  CPU ms/unit")
    for slots in asked.slots:
        async with opened(mongo=asked.mongo) as store:
            await measure(Counting(store), slots)
        await stop_everything()


if __name__ == "__main__":
    asyncio.run(main())
