"""How many operations does a cluster ask of its store while there is nothing to do, or while numbers wait?

    python -m benchmarks.idle --workers 2 16 64
    python -m benchmarks.idle --keeper 10000        what the keeper of so many workers reads and writes

The loops of so many workers (heartbeat, sweeper, admission, charging), without child processes, share one
SQLite file and a broker in memory. First there is no number at all. Then three owners have two hundred long
numbers each: as many as there are places for are held by the workers, and the others wait. Operations are
counted at the store port; one may be several queries. The load of looks should not grow with the workers;
that of heartbeats does.
"""

import argparse
import asyncio
import contextlib
import itertools
import logging
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import bson
import structlog
from msgspec.structs import replace

from common.broker import Delivery, Queue
from common.broker.memory import MemoryBroker
from common.domain import BigInt, Cluster, Unit, WorkerStatus, digest_of
from common.lifecycle import Lifecycle, Submission
from common.numbers import ParsedNumber
from common.store.sqlite import SqliteStore
from factor_worker.admission import Admission
from factor_worker.heartbeat import Activity, Heartbeat
from factor_worker.metering import Meter
from factor_worker.rendezvous import shard_servers
from factor_worker.settlement import Settlement
from factor_worker.sweeper import Sweeper

HEARTBEAT = ("heartbeat", "get_worker", "list_workers")
OWNERS = ("ann", "bob", "cat")
NUMBERS_OF_AN_OWNER = 200
SETTLE_SECONDS = 8.0
"""Until all workers know each other, and what has places is begun."""


class CountingStore(SqliteStore):
    """Counts the calls of each method of the port."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.calls: Counter[str] = Counter()

    def __getattribute__(self, name: str) -> object:
        """Count a method that is looked up to be called."""
        if not name.startswith("_") and name not in (
            "calls",
            "commits",
            "open",
            "close",
            "now",
            "keep",
        ):
            self.calls[name] += 1
        return super().__getattribute__(name)


class IdleWorker:
    """A worker that takes units and holds them, and computes none."""

    def __init__(self, store: SqliteStore, broker: MemoryBroker, name: str) -> None:
        self._broker = broker
        self._held: list[Unit] = []
        self._newest: dict[str, float] = {}
        self._heartbeat = Heartbeat(store, worker_id=name)
        self._meter = Meter(store)
        settlement = Settlement(store, broker, self._heartbeat, meter=self._meter, sieve_digits=100)
        self._sweeper = Sweeper(store, broker, settlement, self._heartbeat)
        self._admission = Admission(store, broker, self._heartbeat)

    def _activity(self) -> Activity:
        return Activity(tuple(self._held), dict(self._newest), units_done=0)

    async def _hold(self, delivery: Delivery) -> None:
        self._held.append(Unit.decode(delivery.body))

    async def run(self) -> None:
        """Run the loops of a worker, until cancelled."""
        await self._heartbeat.beat(self._activity())
        for queue in (Queue.SURVEY, Queue.WORK):
            await self._broker.consume(queue, self._hold, prefetch=16)
        await asyncio.gather(
            self._heartbeat.beat_forever(self._activity),
            self._sweeper.sweep_forever(),
            self._admission.admit_forever(),
            self._meter.charge_forever(),
        )


@contextlib.asynccontextmanager
async def cluster(workers: int) -> AsyncIterator[tuple[CountingStore, MemoryBroker]]:
    """Yield the store and the broker of a running cluster of so many workers."""
    with tempfile.TemporaryDirectory() as folder:
        store, broker = CountingStore(Path(folder) / "idle.sqlite3"), MemoryBroker()
        await store.open()
        await broker.open()
        running = [
            asyncio.create_task(IdleWorker(store, broker, f"worker-{each}").run())
            for each in range(workers)
        ]
        try:
            yield store, broker
        finally:
            for each in running:
                each.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await broker.close()
            await store.close()


async def submit(store: SqliteStore, broker: MemoryBroker) -> None:
    """Submit long numbers of all owners, far more than have places."""
    odd = itertools.count(10**60 + 1, 2)
    lifecycle = Lifecycle(store, broker)
    for owner in OWNERS:
        numbers = (next(odd) for _ in range(NUMBERS_OF_AN_OWNER))
        parsed = tuple(ParsedNumber(number, str(number)) for number in numbers)
        await lifecycle.accept(Submission(owner=owner, numbers=parsed))


async def count(store: CountingStore, seconds: float) -> Counter[str]:
    """Return the operations that a store is asked for in that time, after the cluster has settled."""
    await asyncio.sleep(SETTLE_SECONDS)
    before = store.calls.copy()
    await asyncio.sleep(seconds)
    return store.calls - before


def line(workers: int, what: str, calls: Counter[str], seconds: float) -> str:
    """Return the line of a table, which ends with the methods that are called most."""
    looks = Counter({name: number for name, number in calls.items() if name not in HEARTBEAT})
    most = [f"{name} {number / seconds:.1f}" for name, number in looks.most_common(6)]
    beats = (calls.total() - looks.total()) / seconds
    return f"{workers:8} {what:8} {beats:12.1f} {looks.total() / seconds:8.1f}   {', '.join(most)}"


async def measure(workers: list[int], seconds: float) -> None:
    """Print the operations a second of clusters of these sizes."""
    print(f"{'workers':>8} {'':8} {'heartbeats/s':>12} {'looks/s':>8}   of these")
    for number in workers:
        async with cluster(number) as (store, broker):
            print(line(number, "idle", await count(store, seconds), seconds), flush=True)
            await submit(store, broker)
            print(line(number, "waiting", await count(store, seconds), seconds), flush=True)


def keep(workers: int) -> None:
    """Print the bytes that a keeper reads and writes at each heartbeat, and the CPU time that takes it.

    Each of its workers has two units of one of a thousand long numbers. Documents are as MongoDB sends them.
    """
    documents = []
    for each in range(workers):
        number = BigInt(10**94 + each % 1000)
        status = WorkerStatus(
            worker_id=f"factorline-worker-{each}-1-{each:06x}",
            host=f"factorline-worker-{each}",
            pid=1,
            slots=2,
            running=tuple(f"{digest_of(number)}-{unit}" for unit in (each, each + 1)),
            large=(number,),
            newest_issue={Queue.SURVEY: 1.0, Queue.WORK: 2.0},
            started_at=1.0,
            seen_at=2.0,
        )
        documents.append(bson.encode({**status.to_document(), "_id": status.worker_id}))
    began = time.process_time()
    seen = [WorkerStatus.from_document(bson.decode(document)) for document in documents]
    cluster = Cluster.of(seen, shard_servers([worker.worker_id for worker in seen]))
    seconds = time.process_time() - began
    word = len(bson.encode(replace(seen[0], cluster=cluster).to_document()))
    print(
        f"{workers} workers: reads {sum(map(len, documents)) / 1024:.0f} KiB in {1000 * seconds:.0f} ms"
        f" of CPU, and writes {word} bytes, which all others read"
    )


def main() -> None:
    """Measure clusters of some sizes."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.idle",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 16, 64])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--keeper", type=int, metavar="WORKERS", help="measure the keeper alone")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    if options.keeper:
        keep(options.keeper)
    else:
        asyncio.run(measure(options.workers, options.seconds))


if __name__ == "__main__":
    main()
