"""How does one hard number scale over slots, through the real service, and what do faults cost it?

    python -m benchmarks.scaling slots C75_0        wall time and CPU time on 1, 2, 4 and 8 slots
    python -m benchmarks.scaling kills C70_0        a random worker killed every 10 s, and the broker once
    python -m benchmarks.scaling restart C75_0      everything stopped in the middle and started again
    python -m benchmarks.scaling mixed C80_0        300 small numbers at once beside a hard one (embedded)
    python -m benchmarks.scaling ready              from the start to the first answer (embedded)
    python -m benchmarks.scaling memory C95_0       memory of each kind of process meanwhile (embedded)

Seconds depend on the machine and on what else it does: trust only the ratios within one run.
"""

import argparse
import asyncio
import collections
import concurrent.futures
import contextlib
import json
import multiprocessing
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import gmpy2
import psutil

from benchmarks.cpu import CpuMeter
from factor_worker.engine.siqs.polynomials import parameters
from factor_worker.engine.siqs.sieve import unit
from infra.local.processes import Process, free_ports
from infra.local.programs import Embedded
from infra.local.stack import Stack
from infra.tools import workload

LARGEST = 1000
POLL_SECONDS = 0.25
WAIT_SECONDS = 5
"""How long each long poll for the end of a task may take."""
KILL_SECONDS = 10.0
PEER_SECONDS, PEER_ROUNDS = 2.0, 7
STARTS = 7
SMALL_NUMBERS = 300
SMALL_DIGITS = 30
BURSTS = 5

Task = dict[str, Any]


def number(name: str) -> workload.Number:
    """Return a number of the workload by its name."""
    return next(one for one in workload.numbers(LARGEST) if one.name == name)


async def submit(session: aiohttp.ClientSession, value: int) -> Task:
    """Submit a number and return its task."""
    async with session.post("/factor", json={"number": str(value)}) as response:
        response.raise_for_status()
        task: Task = await response.json()
        return task


async def get(session: aiohttp.ClientSession, task: Task, *, wait_s: int = 0) -> Task:
    """Return a task as it is now, or when it is done; try again while servers are restarting."""
    while True:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with session.get(f"/tasks/{task['task_id']}?wait={wait_s}") as response:
                if response.ok:
                    shown: Task = await response.json()
                    return shown
        await asyncio.sleep(POLL_SECONDS)


async def done(session: aiohttp.ClientSession, task: Task) -> Task:
    """Return a task when it is done; exit if it was not factored completely."""
    while not (shown := await get(session, task, wait_s=WAIT_SECONDS))["done"]:
        pass
    if shown["status"] != "succeeded":
        sys.exit(f"{task['number']} ended {shown['status']}: {shown['reason']}")
    return shown


@contextlib.asynccontextmanager
async def running(
    *, workers: int, slots: int
) -> AsyncIterator[tuple[Stack, aiohttp.ClientSession]]:
    """Yield a fresh stack and an HTTP session for it."""
    with tempfile.TemporaryDirectory(prefix="factorline-") as folder:
        async with Stack(Path(folder), workers=workers, slots=slots) as stack:
            timeout = aiohttp.ClientTimeout(total=10)
            async with aiohttp.ClientSession(stack.url, timeout=timeout) as session:
                await warmed_up(stack)
                yield stack, session


async def warmed_up(stack: Stack) -> None:
    """Return once the workers have been idle for a second: then their children have started."""
    meter, before = CpuMeter(), -1.0
    while (now := meter.read([*stack.workers])) - before > 0.2:  # noqa: PLR2004 CPU seconds
        before = now
        await asyncio.sleep(1.0)


async def on_slots(name: str, counts: list[int], *, together: bool) -> None:
    """Factor the number on more and more workers of one slot, or on one worker with more and more slots."""
    print(
        f"{name}: slots, wall s, speed-up, speed-up of separate sieves, "
        "CPU s of units, CPU s of workers, overhead"
    )
    first, given = 0.0, separate_sieves(name, counts)
    for count in counts:
        workers, slots = (1, count) if together else (count, 1)
        async with running(workers=workers, slots=slots) as (stack, session):
            meter = CpuMeter()
            idle = meter.read([*stack.workers])
            started = time.monotonic()
            end = await done(session, await submit(session, number(name).value))
            wall = time.monotonic() - started
            spent = meter.read([*stack.workers]) - idle
        first = first or wall
        units = end["progress"]["cpu_seconds"]
        print(
            f"{count:3} {wall:8.1f} {first / wall:6.2f} {given[count]:6.2f}"
            f" {units:8.1f} {spent:8.1f} {100 * (spent - units) / units:6.1f} %",
            flush=True,
        )


def separate_sieves(name: str, counts: list[int]) -> dict[int, float]:
    """Return the speed-up of so many separate sieves, for each count: the most that this machine can give."""
    value = number(name).value
    with concurrent.futures.ProcessPoolExecutor(
        max(counts), mp_context=multiprocessing.get_context("spawn")
    ) as processes:
        rates = [
            [sum(processes.map(_rate, [value] * count)) for count in counts]
            for _ in range(PEER_ROUNDS)
        ]
    return {
        count: statistics.median(row[place] / row[0] for row in rates)
        for place, count in enumerate(counts)
    }


def _rate(n: int) -> float:
    chosen = parameters.choose(n)
    unit.sieve(n, chosen, 0, 1)
    started = time.monotonic()
    found = unit.sieve(n, chosen, 1, 10**6, seconds=PEER_SECONDS)
    return found.done / (time.monotonic() - started)


async def under_kills(name: str) -> None:
    """Factor the number undisturbed, then while workers and the broker are killed."""
    spent: list[float] = []
    for killing in (False, True):
        async with running(workers=2, slots=1) as (stack, session):
            meter = CpuMeter()
            idle = meter.read([*stack.workers])
            task = await submit(session, number(name).value)
            killer = asyncio.create_task(_keep_killing(stack, meter)) if killing else None
            end = await done(session, task)
            if killer is not None:
                killer.cancel()
            spent.append(meter.read([*stack.workers]) - idle)
            kills = stack.rabbitmq.pid if killer else None
        print(
            f"{name} {'under kills' if kills else 'undisturbed'}: correct, {spent[-1]:.1f} CPU s of workers, "
            f"{end['progress']['cpu_seconds']:.1f} of settled units",
            flush=True,
        )
    print(f"{spent[1] / spent[0]:.2f} times the CPU time of the undisturbed run")


async def _keep_killing(stack: Stack, meter: CpuMeter) -> None:
    chance = random.Random(1)
    for turn in range(1000):
        await asyncio.sleep(KILL_SECONDS)
        victim = chance.choice(stack.workers)
        meter.read([*stack.workers])
        victim.kill()
        print(f"  killed {victim.name}", flush=True)
        await victim.start()
        if turn == 1:
            stack.rabbitmq.kill()
            print("  killed the broker", flush=True)
            await stack.rabbitmq.start()


async def over_a_restart(name: str) -> None:
    """Stop everything in the middle of the sieve, and start it again."""
    async with running(workers=2, slots=1) as (stack, session):
        task = await submit(session, number(name).value)
        while True:
            before = (await get(session, task))["progress"]["sieve"]
            if before and before["usable"] * 3 > before["needed"]:
                break
            await asyncio.sleep(POLL_SECONDS)
        await stack.stop()
        await stack.__aenter__()
        after = (await get(session, task))["progress"]["sieve"]
        found = [state["full"] + state["partial"] for state in (before, after)]
        print(f"{name}: {found[0]} relations before everything stopped, {found[1]} after")
        end = await done(session, task)
        print(f"correct, {end['progress']['cpu_seconds']:.1f} CPU s of units")


async def beside_small_ones(name: str) -> None:
    """Submit 300 small numbers at once while a hard one is being factored."""
    chance = random.Random(2)
    half = 10 ** (SMALL_DIGITS // 2 - 1)

    def prime() -> int:
        return int(gmpy2.next_prime(chance.randrange(3 * half, 10 * half)))

    kinds: dict[str, Callable[[], int]] = {
        "random": lambda: chance.randrange(half**2, 100 * half**2),
        "products of two primes of equal size": lambda: prime() * prime(),
    }
    [port] = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="factorline-") as folder:
        async with (
            Embedded(Path(folder), port=port, settings={}) as service,
            aiohttp.ClientSession(service.url) as session,
        ):
            hard = await submit(session, number(name).value)
            while (await get(session, hard))["progress"]["stage"] != "sieve":
                await asyncio.sleep(POLL_SECONDS)

            for kind, draw in kinds.items():
                p99s: list[float] = []
                spent: dict[str, float] = collections.defaultdict(float)
                for _ in range(BURSTS):
                    small = [draw() for _ in range(SMALL_NUMBERS)]
                    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in small]
                    before = cpu_by_kind(service)
                    seconds = await asyncio.gather(*map(answered, connections, small))
                    for which, now in cpu_by_kind(service).items():
                        spent[which] += (now - before[which]) / BURSTS
                    p99s.append(statistics.quantiles(seconds, n=100)[98])
                print(
                    f"{SMALL_NUMBERS} numbers at once beside {name}, {kind}, {BURSTS} times: p99 "
                    f"{statistics.median(p99s):.2f} s ({min(p99s):.2f} to {max(p99s):.2f}); CPU s: "
                    + ", ".join(f"{which} {cpu:.2f}" for which, cpu in spent.items()),
                    flush=True,
                )
                assert not (await get(session, hard))["done"]  # noqa: S101 else the figures are of an idle service


async def answered(
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], value: int
) -> float:
    """Submit a small number and wait for its factors; return the seconds that took.

    The request is written by hand. For 300 numbers aiohttp's client takes half as much CPU time, on the same
    cores, as factoring them does, and it sends the first request only after it has prepared the last.
    """
    reader, writer = connection
    body = json.dumps({"number": str(value)})
    started = time.monotonic()
    writer.write(
        "POST /factor HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Prefer: wait=60\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()
    )
    response = await reader.read()
    seconds = time.monotonic() - started
    writer.close()
    shown = json.loads(response.partition(b"\r\n\r\n")[2])
    assert shown["status"] == "succeeded", shown  # noqa: S101 a figure from wrong answers is worthless
    return seconds


def cpu_by_kind(service: Process) -> dict[str, float]:
    """Return the CPU seconds so far of a service's main process, of its children, and of this client."""
    spent = collections.defaultdict(float, client=time.process_time())
    root = psutil.Process(service.pid)
    for process in (root, *root.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # a process of GMP-ECM that has just ended
            kind = "itself" if process == root else f"children of niceness {process.nice()}"
            times = process.cpu_times()
            spent[kind] += times.user + times.system
    return spent


async def from_the_start() -> None:
    """Start the service several times, and for comparison Python with the two slowest imports alone."""
    peer = [sys.executable, "-c", "import aiohttp, numba"]
    seconds: dict[str, list[float]] = {
        "Python with aiohttp and numba and nothing else": [],
        "the service is ready": [],
        "it has factored its first number": [],
    }
    with tempfile.TemporaryDirectory(prefix="factorline-") as folder:
        for nth in range(STARTS):
            service = Embedded(Path(folder), port=free_ports(1)[0], settings={})
            started = time.monotonic()
            async with service, aiohttp.ClientSession(service.url) as session:
                ready = time.monotonic() - started
                await done(session, await submit(session, nth + 10**22))
                answer = time.monotonic() - started
            started = time.monotonic()
            await (await asyncio.create_subprocess_exec(*peer)).wait()
            imports = time.monotonic() - started
            for taken, all_taken in zip((imports, ready, answer), seconds.values(), strict=True):
                all_taken.append(taken)
    for what, all_taken in seconds.items():
        print(f"{statistics.median(all_taken):6.2f} s (median of {STARTS})  {what}")


async def memory(name: str) -> None:
    """Poll how much memory each process uses while a number is factored."""
    most: dict[tuple[str, str], list[int]] = {}
    with tempfile.TemporaryDirectory(prefix="factorline-") as folder:
        async with (
            Embedded(Path(folder), port=free_ports(1)[0], settings={}) as service,
            aiohttp.ClientSession(service.url) as session,
        ):
            root = psutil.Process(service.pid)
            started = time.monotonic()
            task = await submit(session, number(name).value)
            while not (shown := await get(session, task))["done"]:
                for process in (root, *root.children(recursive=True)):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        kind = f"child, niceness {process.nice()}"
                        key = (shown["progress"]["stage"], "itself" if process == root else kind)
                        found = process.memory_full_info()
                        seen = most.setdefault(key, [0, 0])
                        seen[:] = map(max, seen, (found.rss >> 20, found.uss >> 20))
                await asyncio.sleep(POLL_SECONDS)
            elapsed = time.monotonic() - started
            await done(session, task)
    print(f"{name}: {elapsed:.0f} s, {shown['progress']['cpu_seconds']:.0f} CPU s of units")
    for (stage, kind), (resident, own) in most.items():
        print(f"{stage:8} {kind:20} at most {resident:4} MiB resident, {own:4} of them its own")


def main() -> None:
    """Run one of the measurements."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=["slots", "kills", "restart", "mixed", "ready", "memory"])
    parser.add_argument("name", nargs="?", default="C70_0")
    parser.add_argument("--slots", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument(
        "--together",
        action="store_true",
        help="one worker with all slots",
    )
    options = parser.parse_args()
    match options.what:
        case "slots":
            asyncio.run(on_slots(options.name, options.slots, together=options.together))
        case "kills":
            asyncio.run(under_kills(options.name))
        case "restart":
            asyncio.run(over_a_restart(options.name))
        case "mixed":
            asyncio.run(beside_small_ones(options.name))
        case "ready":
            asyncio.run(from_the_start())
        case "memory":
            asyncio.run(memory(options.name))


if __name__ == "__main__":
    main()
