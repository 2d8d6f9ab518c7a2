"""When a number ends that many clients follow, how long after the first one does the last one hear of it?

    python -m benchmarks.followers                          10 000 watchers in one gateway
    python -m benchmarks.followers --followers 0 --sockets 5000     WebSockets of another process
    python -m benchmarks.followers --events                 what an event costs that nobody follows
    python -m benchmarks.followers --events --amqp amqp://guest:guest@127.0.0.1:5672    and to receive it

A gateway runs in this process, over SQLite or, with --mongodb, a MongoDB server. Each watcher builds the
representation of its task, as a socket does. "Reads" are the calls that the gateway makes to the store.
"""

import argparse
import asyncio
import json
import multiprocessing
import multiprocessing.connection
import resource
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import uvloop
from aiohttp import web
from msgspec.structs import replace

from common.broker.memory import MemoryBroker
from common.broker.rabbit import RabbitBroker
from common.domain import (
    BigInt,
    Certainty,
    Ending,
    Event,
    Factorization,
    Part,
    Status,
    Task,
    factorizations,
)
from common.lifecycle import Lifecycle, new_task
from common.runtime import garbage
from common.runtime.settings import Settings
from common.store import Store
from common.store.mongo import MongoStore
from common.store.sqlite import SqliteStore
from gateway.app import create_app
from gateway.context import HUB
from gateway.hub import Hub
from gateway.views.representation import Views

PRIMES = (10**33 + 61, 10**40 + 121)
NUMBER = BigInt(PRIMES[0] * PRIMES[1])
OWNER = "anonymous"
READS = ("get_task", "get_tasks", "get_factorization", "list_versions")
CONNECTING = 100
"""WebSockets that are opened at a time, and events that are sent at a time."""
PING, PONG = b"\x89\x00", b"\x8a\x80\0\0\0\0"
"""A heartbeat of the gateway, and the answer."""
BATCH = 500
EVENTS = 20_000


def count_reads(store: Store) -> Counter[str]:
    """Count the calls of the methods that read tasks and factorizations from now on."""
    counted: Counter[str] = Counter()

    def counting(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            counted[name] += 1
            return method(*arguments)

        return call

    for name in READS:
        setattr(store, name, counting(name, getattr(store, name)))
    return counted


async def begin(store: Store, count: int) -> list[Task]:
    """Store the number and tasks for it, all of them joined."""
    await store.create_factorization(factorizations.begin(NUMBER, time.time()))
    tasks: list[Task] = []
    for start in range(0, count, BATCH):
        fresh = [
            new_task(NUMBER, str(NUMBER), OWNER, at=store.now())
            for _ in range(min(BATCH, count - start))
        ]
        tasks += await store.insert_tasks([replace(task, joined=True) for task in fresh])
    return tasks


async def end(store: Store, lifecycle: Lifecycle, known: Factorization) -> tuple[float, float]:
    """End the number as a worker would; return when that began, and when gateways were told."""
    parts = tuple(Part(value=BigInt(p), certainty=Certainty.PROVEN) for p in PRIMES)
    ending = Ending(status=Status.SUCCEEDED, at=time.time())
    after = replace(known.touched(time.time()), parts=parts, outstanding={}, outbox=())
    after = replace(after, ended=ending)
    started = time.perf_counter()
    await store.swap_factorization(after)
    await lifecycle.end_live_tasks(after)
    told = time.perf_counter()
    await lifecycle.tell(after)
    return started, told


class Heard:
    """When each follower heard of the end."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.at: list[float] = []
        self.all = asyncio.Event()

    def on_change(self, task: Task, views: Views) -> None:
        """Take a state, as a socket does."""
        if views.of(task).done:
            self.at.append(time.perf_counter())
            if len(self.at) == self._count:
                self.all.set()


async def watch_all(hub: Hub, tasks: Sequence[Task], heard: Heard) -> None:
    """Follow the tasks, some at a time."""
    for start in range(0, len(tasks), CONNECTING):
        some = tasks[start : start + CONNECTING]
        await asyncio.gather(*(hub.watch(one.task_id, OWNER, heard.on_change) for one in some))


class Reader(asyncio.Protocol):
    """A WebSocket that notes when it hears of the end, and does as little as it can besides."""

    def __init__(self, task_id: str, url: str) -> None:
        self._task_id = task_id
        self._host = url.removeprefix("http://")
        self._received = b""
        loop = asyncio.get_running_loop()
        self.following: asyncio.Future[None] = loop.create_future()
        self.heard: asyncio.Future[float] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Shake hands and subscribe, without waiting for an answer."""
        head = (
            f"GET /ws HTTP/1.1\r\nHost: {self._host}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        body = json.dumps({"type": "subscribe", "task_ids": [self._task_id]}).encode()
        frame = bytes((0x81, 0x80 | len(body))) + bytes(4) + body
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._transport.write(head.encode() + frame)

    def data_received(self, data: bytes) -> None:
        """Look for the frames that matter."""
        if data.startswith(PING):
            self._transport.write(PONG)
        elif self.following.done():
            if b'"type":"done"' in data and not self.heard.done():
                self.heard.set_result(time.perf_counter())
        else:
            self._received += data
            if b'"snapshot"' in self._received:
                self._received = b""
                self.following.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail, unless nothing was to come any more."""
        if not self.heard.done():
            self.heard.set_exception(exc or ConnectionResetError("the gateway has hung up"))


def clients(url: str, task_ids: Sequence[str], pipe: multiprocessing.connection.Connection) -> None:
    """Follow each task over a WebSocket of its own; send when each of them heard of the end."""
    host, _, port = url.removeprefix("http://").partition(":")

    async def follow() -> list[float]:
        opened = asyncio.Semaphore(CONNECTING)
        loop = asyncio.get_running_loop()

        async def one(task_id: str) -> Reader:
            async with opened:
                connect = loop.create_connection(lambda: Reader(task_id, url), host, int(port))
                _, reader = await connect
                await reader.following
                return reader

        readers = await asyncio.gather(*map(one, task_ids))
        pipe.send("ready")
        return [await reader.heard for reader in readers]

    garbage.collect_rarely()
    _allow_files(len(task_ids) + 100)
    pipe.send(uvloop.run(follow()))


def _allow_files(count: int) -> None:
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and limit < count:
        sys.exit(f"{count} open files are needed and {limit} allowed: see `ulimit -Hn`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(count, 1024), limit))


def report(who: str, at: Sequence[float], told: float) -> None:
    """Print how long after the event the first and the last heard of the end."""
    first, last = min(at) - told, max(at) - told
    print(
        f"{len(at)} {who}: the first hears {first:.3f} s after the event, "
        f"the last {last - first:.3f} s after the first",
        flush=True,
    )


async def followers(store: Store, watchers: int, sockets: int) -> None:
    """Have a number end that so many follow."""
    _allow_files(sockets + 200)
    broker = MemoryBroker()
    await broker.open()
    app = create_app(Settings(max_sockets=sockets + 1), store=store, broker=broker)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server = site._server  # noqa: SLF001 aiohttp has no other way to learn the port
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]
    tasks = await begin(store, watchers + sockets)
    heard = Heard(watchers)
    await watch_all(app[HUB], tasks[:watchers], heard)
    ours, theirs = multiprocessing.Pipe()
    ids = [task.task_id for task in tasks[watchers:]]
    process = multiprocessing.get_context("spawn").Process(target=clients, args=(url, ids, theirs))
    if sockets:
        process.start()
        await asyncio.to_thread(ours.recv)
    lifecycle = Lifecycle(store, broker)
    known = await lifecycle.require(NUMBER)
    reads = count_reads(store)
    started, told = await end(store, lifecycle, known)
    used = time.process_time()
    print(f"the worker ends {len(tasks)} tasks in {told - started:.2f} s", flush=True)
    if watchers:
        await heard.all.wait()
        report("watchers", heard.at, told)
    if sockets:
        report("WebSockets", await asyncio.to_thread(ours.recv), told)
        process.join()
    print(f"CPU of the gateway until everybody has heard: {time.process_time() - used:.2f} s")
    print(f"reads of the store: {sum(reads.values())} {dict(reads)}")
    await runner.cleanup()


async def events(store: Store, amqp: str | None) -> None:
    """Measure how long a gateway takes to drop an event of a number that nobody follows."""
    broker = MemoryBroker()
    hub = Hub(store, broker, Lifecycle(store, broker))
    if amqp:
        seconds = await received(amqp, hub)
    else:
        body = Event(number=NUMBER, version=7).encode()
        started = time.process_time()
        for _ in range(EVENTS):
            await hub._on_event(Event.decode(body))  # noqa: SLF001 what the broker calls
        seconds = time.process_time() - started
    print(f"an event of a number that nobody follows: {1e6 * seconds / EVENTS:.1f} us of CPU")


async def received(amqp: str, hub: Hub) -> float:
    """Return the CPU seconds that `EVENTS` events cost who receives them from RabbitMQ."""
    broker = RabbitBroker(amqp, name="followers")
    await broker.open()
    left, enough = EVENTS, asyncio.Event()

    async def on_event(event: Event) -> None:
        nonlocal left
        await hub._on_event(event)  # noqa: SLF001 what the broker calls
        left -= 1
        if left == 0:
            enough.set()

    async def on_gap() -> None:
        sys.exit("the connection was lost")

    await broker.subscribe_events(on_event, on_gap)
    sender = multiprocessing.get_context("spawn").Process(target=send_events, args=(amqp,))
    sender.start()
    started = time.process_time()
    await enough.wait()
    seconds = time.process_time() - started
    await asyncio.to_thread(sender.join)
    await broker.close()
    return seconds


def send_events(amqp: str) -> None:
    """Send `EVENTS` events, a hundred at a time."""

    async def send() -> None:
        broker = RabbitBroker(amqp, name="followers")
        await broker.open()
        for _ in range(EVENTS // CONNECTING):
            event = Event(number=NUMBER, version=7)
            await asyncio.gather(*(broker.tell(event) for _ in range(CONNECTING)))
        await broker.close()

    uvloop.run(send())


async def main() -> None:
    """Measure one of them."""
    garbage.collect_rarely()  # as the program does
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--followers", type=int, default=10_000)
    parser.add_argument("--sockets", type=int, default=0)
    parser.add_argument("--events", action="store_true")
    parser.add_argument("--mongodb", help="address of a MongoDB server, without a database")
    parser.add_argument("--amqp", help="address of a RabbitMQ server for --events")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store: Store = SqliteStore(Path(folder) / "factorline.db")
        if arguments.mongodb:
            store = MongoStore(f"{arguments.mongodb.rstrip('/')}/followers{secrets.token_hex(4)}")
        await store.open()
        if arguments.events:
            await events(store, arguments.amqp)
        else:
            await followers(store, arguments.followers, arguments.sockets)
        await store.close()


if __name__ == "__main__":
    uvloop.run(main())
