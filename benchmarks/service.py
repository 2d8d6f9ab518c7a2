"""How fast is the service under load, how much load can it take, and what does it cost?

    python -m benchmarks.service curve              latency from submission to the pushed answer, rate by rate
    python -m benchmarks.service curve --stack      the same through RabbitMQ, MongoDB and HAProxy
    python -m benchmarks.service batch              numbers per second through POST /tasks/batch
    python -m benchmarks.service sockets            memory of idle WebSockets
    python -m benchmarks.service backlog            100 000 numbers at once: time to accept and to factor them
    python -m benchmarks.service pause              do the latencies show it when gateways pause for a second?
    python -m benchmarks.service peer               Celery, RabbitMQ, Redis and Flask doing the same job

The numbers are trivial, so that the service is measured and not the mathematics. A gateway answers those of
twelve digits by itself; with `--digits 24` they go through the broker to a worker and back.

Has a change made the service slower? This measures two checkouts in turns and prints the ratios:

    python -m benchmarks.service curve --against ../old     the folder of a checkout that has a .venv
    python -m benchmarks.service batch --against ../old

Seconds depend on the machine, which runs the load generator too: trust only the ratios within one run.
"""

import argparse
import asyncio
import contextlib
import os
import resource
import secrets
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import psutil

from benchmarks import openloop
from benchmarks.cpu import CpuMeter
from benchmarks.peers import celery_flask
from infra.local.processes import Process, free_ports
from infra.local.programs import Embedded, Program
from infra.local.stack import Stack

RATES = (50, 100, 200, 300, 400, 500, 600, 800, 1000, 1200, 1400, 1600)
RATES_IN_TURNS = (100, 300)
"""Rates below the knee. Beyond it latencies grow with the length of the run, so comparing them is no use."""
ROUNDS = 5
SECONDS = 8.0
TIMEOUT_SECONDS = 20.0
KNEE_SECONDS = 1.0
"""A rate is beyond the knee if its p99 latency is above this, or if a request is lost."""
WARM_NUMBERS = 200
BATCH, BATCHES = 1000, 5
SOCKETS = 10_000
BACKLOG = 100_000
SETTINGS = {"FACTORLINE_MAX_SOCKETS": str(2 * SOCKETS), "FACTORLINE_MAX_SUBSCRIPTIONS": "100000"}
"""Limits of the service that one client with all of the load would exceed."""

Submit = Callable[[int], Awaitable[None]]


class Service(NamedTuple):
    """A running service."""

    url: str
    gateways: Sequence[Process]
    """The processes that answer HTTP."""
    programs: Sequence[Process]
    """Those and the workers, if they are other processes."""


class Numbers:
    """Distinct numbers of a given size, different from those of earlier runs."""

    def __init__(self, digits: int) -> None:
        self._next = (1 + secrets.randbelow(8 * 10**6)) * 10 ** (digits - 7)

    def take(self) -> str:
        """Return the next number."""
        self._next += 1
        return str(self._next)


class Subscriber:
    """One WebSocket on which answers are pushed."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ends: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._reader = asyncio.create_task(self._read())

    async def done(self, task_id: str) -> dict[str, Any]:
        """Subscribe to a task, and return it when it is done."""
        end: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._ends[task_id] = end
        await self._socket.send_json({"type": "subscribe", "task_ids": [task_id]})
        try:
            return await end
        finally:
            del self._ends[task_id]

    async def _read(self) -> None:
        async for message in self._socket:
            frame = message.json()
            if frame["type"] == "done":
                end = self._ends.get(frame["task"]["task_id"])
                if end is not None and not end.done():
                    end.set_result(frame["task"])
            elif frame["type"] == "error":
                sys.exit(f"the service answered with an error: {frame}")

    async def close(self) -> None:
        """Close the WebSocket."""
        await self._socket.close()
        await self._reader


@contextlib.asynccontextmanager
async def serving(*, stack: bool, checkout: Path | None = None) -> AsyncIterator[Service]:
    """Yield a fresh service of this checkout, or of another one."""
    with tempfile.TemporaryDirectory(prefix="factorline-") as name:
        running: Stack | Embedded
        if stack:
            running = Stack(Path(name))
            gateways: list[Program] = [*running.gateways]
            programs = [*gateways, *running.workers]
        else:
            running = Embedded(Path(name), port=free_ports(1)[0], settings={})
            gateways = programs = [running]
        if checkout:
            for program in programs:
                program.run_from(checkout)
        async with running:
            yield Service(running.url, gateways, programs)


@contextlib.asynccontextmanager
async def submitting(url: str, digits: int) -> AsyncIterator[Submit]:
    """Yield a function that submits the i-th number and returns when its answer has been pushed."""
    numbers = Numbers(digits)
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(url, connector=connector) as session,
        session.ws_connect("/ws", protocols=("factorline.v1",)) as socket,
    ):
        subscriber = Subscriber(socket)

        async def submit(_index: int) -> None:
            async with session.post("/factor", json={"number": numbers.take()}) as response:
                response.raise_for_status()
                task = await response.json()
            end = await subscriber.done(task["task_id"])
            if end["status"] != "succeeded":
                sys.exit(f"{end['number']} ended {end['status']}: {end['reason']}")

        await asyncio.gather(*(submit(index) for index in range(WARM_NUMBERS)))
        yield submit
        await subscriber.close()


async def curve(submit: Submit, rates: Sequence[float], seconds: float) -> list[openloop.Measured]:
    """Measure, print and return each rate, up to the first one beyond the knee."""
    found = []
    for rate in rates:
        measured = await openloop.run(submit, rate=rate, seconds=seconds, timeout_s=TIMEOUT_SECONDS)
        print(measured, flush=True)
        found.append(measured)
        if measured.lost or measured.quantile(99) > KNEE_SECONDS:
            print("beyond the knee")
            break
    return found


async def batch(url: str, digits: int) -> list[tuple[float, float]]:
    """Print and return, for each batch, the seconds until it was accepted and until it was done."""
    numbers = Numbers(digits)
    found = []
    async with aiohttp.ClientSession(url) as session:
        for _ in range(BATCHES):
            values = [numbers.take() for _ in range(BATCH)]
            started = time.monotonic()
            async with session.post("/tasks/batch", json={"numbers": values}) as response:
                response.raise_for_status()
                last = (await response.json())["items"][-1]["task"]["task_id"]
            accepted = time.monotonic() - started
            await _ended(session, last)
            done = time.monotonic() - started
            found.append((accepted, done))
            print(
                f"{BATCH} numbers accepted in {accepted:.3f} s: {BATCH / accepted:.0f}/s; "
                f"all done after {done:.2f} s",
                flush=True,
            )
    return found


async def _ended(session: aiohttp.ClientSession, task_id: str) -> None:
    done = False
    while not done:
        async with session.get(f"/tasks/{task_id}", params={"wait": "30"}) as response:
            done = (await response.json())["done"]


async def sockets(url: str, processes: Sequence[Process], count: int) -> None:
    """Open idle WebSockets and print how much memory they take."""
    _allow_files(count + 1000)
    before = _resident(processes)
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with (
        contextlib.AsyncExitStack() as stack,
        aiohttp.ClientSession(url, connector=connector) as session,
    ):
        connecting = asyncio.Semaphore(100)

        async def connect() -> None:
            async with connecting:
                opened = session.ws_connect("/ws", protocols=("factorline.v1",))
                socket = await stack.enter_async_context(opened)
                await socket.receive_json()  # hello

        await asyncio.gather(*(connect() for _ in range(count)))
        grown = _resident(processes) - before
        print(
            f"{count} idle sockets: {grown / 2**20:.0f} MiB, {grown / count / 1024:.1f} KiB each",
            flush=True,
        )


def _resident(processes: Sequence[Process]) -> int:
    return sum(
        psutil.Process(process.pid).memory_info().rss for process in processes if process.running
    )


def _allow_files(count: int) -> None:
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and limit < count:
        sys.exit(
            f"{count} open files are needed and {limit} allowed: raise the limit (`ulimit -Hn`)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, limit))


async def backlog(url: str, count: int, digits: int) -> None:
    """Submit many numbers in batches; print how fast they are accepted and factored."""
    numbers = Numbers(digits)
    started = time.monotonic()
    last = ""
    async with aiohttp.ClientSession(url) as session:
        for _ in range(count // BATCH):
            values = [numbers.take() for _ in range(BATCH)]
            async with session.post("/tasks/batch", json={"numbers": values}) as response:
                response.raise_for_status()
                last = (await response.json())["items"][-1]["task"]["task_id"]
        accepted = time.monotonic() - started
        print(f"{count} numbers accepted in {accepted:.1f} s: {count / accepted:.0f}/s", flush=True)
        await _ended(session, last)
        drained = time.monotonic() - started
        print(f"all done after {drained:.1f} s: {count / drained:.0f}/s")


async def pause(submit: Submit, processes: Sequence[Process]) -> None:
    """Stop the gateways for a second under load, and check that the percentiles show it."""
    rate, seconds = 50.0, 8.0

    async def stop_for_a_second() -> None:
        await asyncio.sleep(seconds / 2)
        for process in processes:
            process.signal(signal.SIGSTOP)
        await asyncio.sleep(1.0)
        for process in processes:
            process.signal(signal.SIGCONT)

    calm = await openloop.run(submit, rate=rate, seconds=seconds, timeout_s=TIMEOUT_SECONDS)
    print(calm)
    interrupting = asyncio.create_task(stop_for_a_second())
    shaken = await openloop.run(submit, rate=rate, seconds=seconds, timeout_s=TIMEOUT_SECONDS)
    await interrupting
    print(shaken)
    # An eighth of the requests fell into the pause, spread evenly; a tenth of these waited 0.9 s or more.
    if shaken.quantile(99) - calm.quantile(99) < 0.8:  # noqa: PLR2004 seconds, see above
        sys.exit("the pause does not show in the latencies: do not trust this load generator")
    print("the pause shows in the latencies")


async def beside_peer(rates: list[float], seconds: float) -> None:
    """Measure the highest throughput of the peer and of this service, one after the other."""
    best: dict[str, float] = {}
    async with celery_flask.serving() as url, celery_flask.submitting(url) as submit:
        print("Celery + RabbitMQ + Redis + Flask (gunicorn)")
        best["peer"] = max(one.throughput for one in await curve(submit, rates, seconds))
    for stack in (False, True):
        for digits in (12, 24):
            name = f"{'make stack' if stack else 'make run'}, {digits} digits"
            print(f"Factorline, {name}")
            async with (
                serving(stack=stack) as service,
                submitting(service.url, digits) as submit,
            ):
                best[name] = max(one.throughput for one in await curve(submit, rates, seconds))
    for name, throughput in best.items():
        print(f"{name:<22}{throughput:6.0f}/s  {throughput / best['peer']:.1f} times the peer")


async def figures(options: argparse.Namespace, service: Service) -> dict[str, float]:
    """Measure a curve or batches; return the figures by name. Smaller is better."""
    meter = CpuMeter()
    if options.what == "batch":
        before = meter.read(service.programs)
        pairs = await batch(service.url, options.digits)
        accepted, done = map(statistics.median, zip(*pairs, strict=True))
        found = {"ms until accepted": 1000 * accepted, "ms until done": 1000 * done}
        count = BATCH * BATCHES
    else:
        async with submitting(service.url, options.digits) as submit:
            before = meter.read(service.programs)
            measured = await curve(submit, options.rates or RATES_IN_TURNS, options.seconds)
        found = {
            f"ms, p{percent} at {one.rate:.0f}/s": 1000 * one.quantile(percent)
            for one in measured
            for percent in (50, 90, 99)
        }
        count = sum(one.answered for one in measured)
    found["CPU ms per number"] = 1000 * (meter.read(service.programs) - before) / count
    return found


async def in_turns(options: argparse.Namespace) -> None:
    """Measure this checkout and another one in turns, and print the ratios of their figures."""
    checkouts = {"this": None, "other": options.against.resolve()}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in checkouts}
    for turn in range(options.rounds):
        for name in sorted(checkouts, reverse=turn % 2 == 0):  # so that neither is always the first
            print(f"round {turn + 1} of {options.rounds}: {name} checkout", flush=True)
            async with serving(stack=options.stack, checkout=checkouts[name]) as service:
                found[name].append(await figures(options, service))
    print(f"{'':<22}{'this':>9}{'other':>9}   this/other: median (smallest to largest)")
    for figure in found["this"][0]:
        pairs = [
            (this[figure], other[figure])
            for this, other in zip(found["this"], found["other"], strict=True)
            if figure in this and figure in other
        ]
        ratios = [this / other for this, other in pairs]
        this, other = (statistics.median(values) for values in zip(*pairs, strict=True))
        print(
            f"{figure:<22}{this:9.2f}{other:9.2f}{statistics.median(ratios):9.3f} "
            f"({min(ratios):.3f} to {max(ratios):.3f})"
        )


async def measure(options: argparse.Namespace) -> None:
    """Run one of the measurements."""
    if options.against:
        await in_turns(options)
        return
    rates = options.rates or list(RATES)
    if options.what == "peer":
        await beside_peer(rates, options.seconds)
        return
    async with serving(stack=options.stack) as service:
        match options.what:
            case "batch":
                await batch(service.url, options.digits)
            case "sockets":
                await sockets(service.url, service.gateways, options.count or SOCKETS)
            case "backlog":
                await backlog(service.url, options.count or BACKLOG, options.digits)
            case _:
                async with submitting(service.url, options.digits) as submit:
                    if options.what == "pause":
                        await pause(submit, service.gateways)
                    else:
                        await curve(submit, rates, options.seconds)


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.service",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=["curve", "batch", "sockets", "backlog", "pause", "peer"])
    parser.add_argument("--stack", action="store_true", help="the production layout (make stack)")
    parser.add_argument("--rates", type=float, nargs="+", help="numbers per second, ascending")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long each rate is sent")
    parser.add_argument("--digits", type=int, default=12, help="of the numbers")
    parser.add_argument("--count", type=int, help="of sockets, or of numbers in the backlog")
    parser.add_argument(
        "--against", type=Path, help="another checkout to measure in turns: curve and batch only"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of both checkouts")
    options = parser.parse_args()
    if options.against and options.what not in {"curve", "batch"}:
        parser.error("--against can compare `curve` and `batch` only")
    os.environ.setdefault("FACTORLINE_LOG_LEVEL", "WARNING")
    os.environ.update(SETTINGS)
    asyncio.run(measure(options))


if __name__ == "__main__":
    main()
