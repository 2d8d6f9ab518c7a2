"""How many slots can work before settling what they find holds them up?

    python -m benchmarks.swarm --slots 100 300 1000 3000            all on one number
    python -m benchmarks.swarm --slots 256 1024 --numbers 8         the same share of them on each of eight
    python -m benchmarks.swarm --slots 300 --mongo      over the MongoDB stand-in instead of SQLite

Slots are simulated: a unit takes five seconds and returns a batch of relations, without computing. What
happens around it is real: receiving, storing, planning, swapping and publishing, by workers of eight slots,
over a real store and the memory broker. All of it runs in this one process, so the CPU time is that of all
workers. "Told" are control messages, each of which goes to every worker.
"""

import argparse
import asyncio
import contextlib
import math
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from msgspec.structs import replace

from common.broker import Broker, Delivery, Queue
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

FIRST = (10**49 + 9) * (10**49 + 57)
"""The first number, of 98 digits; nobody factors it, so any others do as well."""
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
    """A store or a broker that counts its calls."""

    def __init__(self, port: Store | Broker) -> None:
        self._port = port
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        """Return a method of the port that is counted when it is called."""
        method = getattr(self._port, name)

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
    told: int


def read(store: Counting, broker: Counting) -> Reading:
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
        broker.calls["control"],
    )


async def begin(store: Store, number: BigInt) -> None:
    """Submit a number, with a sieve that never ends."""
    part = factorizations.begin(number, 1.0).parts[0]
    part = replace(part, certainty=Certainty.COMPOSITE, gave_up={"ecm": "this is about sieving"})
    state = replace(sieve.begin(part), forecast_indices=1 << 40, needed=1 << 40)
    known = replace(factorizations.begin(number, 1.0), parts=(replace(part, sieve=state),))
    await store.create_factorization(known)
    await store.insert_tasks([replace(new_task(number, "C98", "ann", at=store.now()), joined=True)])


def worker(store: Store, broker: Broker, cluster: Cluster, name: str) -> Consumer:
    """Return one worker of a cluster."""
    heartbeat = Heartbeat(store, worker_id=name, slots=SLOTS_A_WORKER)
    heartbeat.cluster = cluster
    settlement = Settlement(store, broker, heartbeat, meter=Meter(store), sieve_digits=100)
    return Consumer(store, settlement, worker_id=name)


async def measure(store: Counting, slots: int, count: int) -> None:
    """Print a line for so many slots and numbers."""
    memory = MemoryBroker()
    await memory.open()
    counting = Counting(memory)
    counted, broker = cast("Store", store), cast("Broker", counting)
    # Numbers that share a factor would be split by it.
    step = math.prod(p for p in range(2, count + 1) if all(p % q for q in range(2, p)))
    numbers = [BigInt(FIRST + step * each) for each in range(count)]
    names = [f"w{number}" for number in range(-(-slots // SLOTS_A_WORKER))]
    cluster = Cluster(slots=SLOTS_A_WORKER * len(names), numbers=count, workers=len(names))
    workers = [worker(counted, broker, cluster, name) for name in names]
    for number in numbers:
        await begin(counted, number)
        [survey] = (await Lifecycle(counted, broker).require(number)).outstanding
        found = Outcome(unit_id=survey, pieces=(Piece(number, 1, Certainty.COMPOSITE),))
        await workers[0]._settlement.apply(number, found)  # noqa: SLF001 that is not measured
    for each in workers:
        await consume(memory, each)
    await asyncio.sleep(WARM_UP_SECONDS)
    before = read(store, counting)
    await asyncio.sleep(MEASURED_SECONDS)
    after = read(store, counting)
    known = await Lifecycle(counted, broker).require(numbers[0])
    seconds = after.at - before.at
    settled, swaps = after.settled - before.settled, after.swaps - before.swaps
    lost, wanted = after.lost - before.lost, SLOTS_A_WORKER * len(names) / UNIT_SECONDS
    print(
        f"{slots:6} {count:7} {settled / seconds:10.1f} {wanted:9.1f} {settled / seconds / wanted:7.1%}"
        f" {swaps / seconds:9.1f} {lost / max(1, swaps + lost):7.1%}"
        f" {len(known.encode()) / 1024:9.1f} {(after.calls - before.calls) / seconds:9.0f}"
        f" {(after.told - before.told) / seconds:8.1f}"
        f" {1000 * (after.cpu - before.cpu) / max(1, settled):9.2f}",
        flush=True,
    )
    await memory.close()


async def consume(broker: MemoryBroker, consumer: Consumer) -> None:
    """Have a worker take units and control messages."""
    pool = cast("Pool", Sleepers(SLOTS_A_WORKER))

    async def handle(delivery: Delivery) -> None:
        await consumer.handle(pool, delivery)

    await broker.consume(Queue.WORK, handle, prefetch=SLOTS_A_WORKER)
    await broker.subscribe_control(consumer.stop_unwanted, consumer.stop_unwanted)


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
    parser.add_argument("--numbers", type=int, default=1, help="numbers that share the slots")
    parser.add_argument("--mongo", action="store_true", help="use the MongoDB stand-in")
    asked = parser.parse_args()
    print(
        " slots numbers  settled/s    wanted   share   swaps/s    lost  KiB doc.   calls/s"
        "   told/s  CPU ms/unit"
    )
    for slots in asked.slots:
        async with opened(mongo=asked.mongo) as store:
            await measure(Counting(store), slots, asked.numbers)
        await stop_everything()


if __name__ == "__main__":
    asyncio.run(main())
