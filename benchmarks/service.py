"""The service under load: how fast it answers, where its knee is, what it holds, and beside a peer.

    python -m benchmarks.service curve              submit → done over WebSocket, rate by rate
    python -m benchmarks.service curve --stack      the same through RabbitMQ, MongoDB and HAProxy
    python -m benchmarks.service batch              numbers a second through POST /tasks/batch
    python -m benchmarks.service sockets            memory of idle WebSockets
    python -m benchmarks.service backlog            100 000 numbers at once: accepted, then drained
    python -m benchmarks.service pause              a gateway stopped for a second must show as a second
    python -m benchmarks.service peer               Celery + RabbitMQ + Redis + Flask, doing the same job

The numbers are trivial, so that the service is measured and not the mathematics: twelve digits, which a
gateway answers by itself, or with `--digits 24` such as go through the broker to a worker and back.
Seconds are of this machine, on which the load generator runs too: take ratios within a run seriously.
"""

import argparse
import asyncio
import contextlib
import os
import resource
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from benchmarks import openloop
from benchmarks.peers import celery_flask
from infra.local.processes import Process, free_ports
from infra.local.programs import Embedded
from infra.local.stack import Stack

RATES = (50, 100, 200, 300, 400, 500, 600, 800, 1000, 1200, 1400, 1600)
SECONDS = 8.0
TIMEOUT_SECONDS = 20.0
KNEE_SECONDS = 1.0
"""A rate is beyond the knee if its p99 is above this or a request is lost."""
WARM_NUMBERS = 200
BATCH = 1000
SOCKETS = 10_000
BACKLOG = 100_000
ROOM = {"FACTORLINE_MAX_SOCKETS": str(2 * SOCKETS), "FACTORLINE_MAX_SUBSCRIPTIONS": "100000"}
"""Settings of the service: all of the load comes over one socket, or from one client."""

Submit = Callable[[int], Awaitable[None]]


class Numbers:
    """Distinct numbers of so many digits that no earlier run has asked for."""

    def __init__(self, digits: int) -> None:
        self._next = (1 + secrets.randbelow(8 * 10**6)) * 10 ** (digits - 7)

    def take(self) -> str:
        """Return the next one."""
        self._next += 1
        return str(self._next)


class Subscriber:
    """One WebSocket on which the ends of tasks are heard."""

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
                sys.exit(f"the service says {frame}")

    async def close(self) -> None:
        """Hear no more."""
        await self._socket.close()
        await self._reader


@contextlib.asynccontextmanager
async def serving(*, stack: bool) -> AsyncIterator[tuple[str, list[Process]]]:
    """Yield the address of a fresh service, and the processes that answer HTTP."""
    with tempfile.TemporaryDirectory(prefix="factorline-") as folder:
        if stack:
            async with Stack(Path(folder)) as started:
                yield started.url, list(started.gateways)
        else:
            async with Embedded(Path(folder), port=free_ports(1)[0], settings={}) as service:
                yield service.url, [service]


@contextlib.asynccontextmanager
async def submitting(url: str, digits: int) -> AsyncIterator[Submit]:
    """Yield what submits the i-th number and returns when its answer was pushed."""
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


async def curve(submit: Submit, rates: list[float], seconds: float) -> list[openloop.Measured]:
    """Print and return a line for each rate, up to the first one beyond the knee."""
    found = []
    for rate in rates:
        measured = await openloop.run(submit, rate=rate, seconds=seconds, timeout_s=TIMEOUT_SECONDS)
        print(measured, flush=True)
        found.append(measured)
        if measured.lost or measured.quantile(99) > KNEE_SECONDS:
            print("beyond the knee")
            break
    return found


async def batch(url: str, digits: int) -> None:
    """Time how fast batches are accepted, and how fast they are done."""
    numbers = Numbers(digits)
    async with aiohttp.ClientSession(url) as session:
        for _ in range(5):
            values = [numbers.take() for _ in range(BATCH)]
            began = time.monotonic()
            async with session.post("/tasks/batch", json={"numbers": values}) as response:
                accepted = await response.json()
            seconds = time.monotonic() - began
            last = accepted["items"][-1]["task"]["task_id"]
            await _ended(session, last)
            print(
                f"{accepted['accepted']} numbers accepted in {seconds:.3f} s: "
                f"{BATCH / seconds:.0f}/s; all done after {time.monotonic() - began:.2f} s",
                flush=True,
            )


async def _ended(session: aiohttp.ClientSession, task_id: str) -> None:
    done = False
    while not done:
        async with session.get(f"/tasks/{task_id}", params={"wait": "30"}) as response:
            done = (await response.json())["done"]


async def sockets(url: str, processes: list[Process], count: int) -> None:
    """Open idle WebSockets and say what they weigh."""
    _allow_files(count + 1000)
    before = _resident(processes)
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with (
        contextlib.AsyncExitStack() as stack,
        aiohttp.ClientSession(url, connector=connector) as session,
    ):
        places = asyncio.Semaphore(100)

        async def connect() -> None:
            async with places:
                opened = session.ws_connect("/ws", protocols=("factorline.v1",))
                socket = await stack.enter_async_context(opened)
                await socket.receive_json()  # hello

        await asyncio.gather(*(connect() for _ in range(count)))
        grown = _resident(processes) - before
        print(
            f"{count} idle sockets: {grown / 2**20:.0f} MiB, {grown / count / 1024:.1f} KiB each",
            flush=True,
        )


def _resident(processes: list[Process]) -> int:
    return sum(
        psutil.Process(process.pid).memory_info().rss for process in processes if process.running
    )


def _allow_files(count: int) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < count:
        sys.exit(f"{count} open files are needed and {most} allowed: see `ulimit -n`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, most))


async def backlog(url: str, count: int, digits: int) -> None:
    """Post many numbers in batches; say how fast they are accepted, and when the last one is done."""
    numbers = Numbers(digits)
    began = time.monotonic()
    last = ""
    async with aiohttp.ClientSession(url) as session:
        for _ in range(count // BATCH):
            values = [numbers.take() for _ in range(BATCH)]
            async with session.post("/tasks/batch", json={"numbers": values}) as response:
                response.raise_for_status()
                last = (await response.json())["items"][-1]["task"]["task_id"]
        accepted = time.monotonic() - began
        print(f"{count} numbers accepted in {accepted:.1f} s: {count / accepted:.0f}/s", flush=True)
        await _ended(session, last)
        drained = time.monotonic() - began
        print(f"all done after {drained:.1f} s: {count / drained:.0f}/s")


async def pause(submit: Submit, processes: list[Process]) -> None:
    """Stop the gateways for a second under load: the percentiles must show it."""
    rate, seconds = 50.0, 8.0

    async def stop_and_go() -> None:
        await asyncio.sleep(seconds / 2)
        for process in processes:
            process.signal(signal.SIGSTOP)
        await asyncio.sleep(1.0)
        for process in processes:
            process.signal(signal.SIGCONT)

    calm = await openloop.run(submit, rate=rate, seconds=seconds, timeout_s=TIMEOUT_SECONDS)
    print(calm)
    interrupting = asyncio.create_task(stop_and_go())
    shaken = await openloop.run(submit, rate=rate, seconds=seconds, timeout_s=TIMEOUT_SECONDS)
    await interrupting
    print(shaken)
    # An eighth of the requests fell into the pause, evenly: a tenth of those waited 0.9 s and more.
    if shaken.quantile(99) - calm.quantile(99) < 0.8:  # noqa: PLR2004 seconds, see above
        sys.exit("the pause does not show: do not trust this load generator")
    print("the pause of a second shows")


async def beside_peer(rates: list[float], seconds: float) -> None:
    """Find the knees of the peer and of this service, one after the other."""
    best: dict[str, float] = {}
    async with celery_flask.serving() as url, celery_flask.submitting(url) as submit:
        print("Celery + RabbitMQ + Redis + Flask (gunicorn)")
        best["peer"] = max(one.throughput for one in await curve(submit, rates, seconds))
    for stack in (False, True):
        for digits in (12, 24):
            name = f"{'make stack' if stack else 'make run'}, {digits} digits"
            print(f"Factorline, {name}")
            async with serving(stack=stack) as (own, _), submitting(own, digits) as submit:
                best[name] = max(one.throughput for one in await curve(submit, rates, seconds))
    for name, throughput in best.items():
        print(f"{name:<22}{throughput:6.0f}/s  {throughput / best['peer']:.1f} times the peer")


async def measure(asked: argparse.Namespace) -> None:
    """Run one of the measurements."""
    if asked.what == "peer":
        await beside_peer(asked.rates, asked.seconds)
        return
    async with serving(stack=asked.stack) as (url, processes):
        match asked.what:
            case "batch":
                await batch(url, asked.digits)
            case "sockets":
                await sockets(url, processes, asked.count or SOCKETS)
            case "backlog":
                await backlog(url, asked.count or BACKLOG, asked.digits)
            case _:
                async with submitting(url, asked.digits) as submit:
                    if asked.what == "pause":
                        await pause(submit, processes)
                    else:
                        await curve(submit, asked.rates, asked.seconds)


def main() -> None:
    """Run one of the measurements."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.service",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=["curve", "batch", "sockets", "backlog", "pause", "peer"])
    parser.add_argument("--stack", action="store_true", help="the production shape (make stack)")
    parser.add_argument("--rates", type=float, nargs="+", default=list(RATES))
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each rate")
    parser.add_argument("--digits", type=int, default=12, help="of the numbers")
    parser.add_argument("--count", type=int, help="of sockets, or of numbers in the backlog")
    os.environ.setdefault("FACTORLINE_LOG_LEVEL", "WARNING")
    os.environ.update(ROOM)
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
