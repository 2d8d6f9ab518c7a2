"""How long does a single number of one API key take while another key has 50 000 numbers waiting?

    make fairness
    python -m benchmarks.fairness --crowd 12 --crowd-digits 72 --digits 52     numbers that are sieved

It starts an embedded service with keys and a temporary store, which uses all cores. One key submits the crowd
in batches. Another one submits single numbers, before and after that, one at a time, and waits for each.
"""

import argparse
import asyncio
import random
import tempfile
import time
from pathlib import Path

import aiohttp
import gmpy2

from common.domain import NewKey, new_key
from common.store.sqlite import SqliteStore
from infra.local.processes import free_ports
from infra.local.programs import Embedded

BATCH = 1000
DIGITS = 30
PROBES = 20


def semiprime(chance: random.Random, digits: int) -> str:
    """Return a product of two primes of half the digits each."""
    low, high = 10 ** (digits // 2 - 1), 10 ** (digits // 2)
    return str(
        gmpy2.next_prime(chance.randrange(low, high))
        * gmpy2.next_prime(chance.randrange(low, high))
    )


class Caller:
    """A client with an API key."""

    def __init__(self, session: aiohttp.ClientSession, url: str, made: NewKey) -> None:
        self._session = session
        self._url = url
        self._headers = {"Authorization": f"Bearer {made.secret}"}

    async def factor(self, number: str) -> float:
        """Submit a number, wait until it is factored, and return the seconds that took."""
        started = time.perf_counter()
        headers = {**self._headers, "Prefer": "wait=60"}
        body = {"number": number}
        async with self._session.post(f"{self._url}/factor", json=body, headers=headers) as answer:
            task = await answer.json()
        while not task["done"]:
            path = f"{self._url}{task['links']['self']}?wait=60"
            async with self._session.get(path, headers=self._headers) as answer:
                task = await answer.json()
        assert task["status"] == "succeeded", task  # noqa: S101 a benchmark of wrong answers is none
        return time.perf_counter() - started

    async def batch(self, numbers: list[str]) -> int:
        """Submit a batch; return how many numbers were accepted."""
        body = {"numbers": numbers}
        async with self._session.post(
            f"{self._url}/tasks/batch", json=body, headers=self._headers
        ) as answer:
            return int((await answer.json())["accepted"])


async def probe(caller: Caller, chance: random.Random, digits: int, when: str) -> None:
    """Submit single numbers one after the other; print how long they took."""
    seconds = sorted([await caller.factor(semiprime(chance, digits)) for _ in range(PROBES)])
    print(
        f"{when}: {PROBES} single numbers, median {seconds[PROBES // 2] * 1000:.0f} ms, "
        f"longest {seconds[-1] * 1000:.0f} ms",
        flush=True,
    )


async def measure(folder: Path, crowd: int, crowd_digits: int, digits: int) -> None:
    """Run the service and print the figures."""
    [port] = free_ports(1)
    chance = random.Random(1)
    async with Embedded(folder, port=port, settings={"FACTORLINE_KEYS": "true"}) as service:
        store = SqliteStore(folder / "data" / "factorline.sqlite3")
        await store.open()
        made = [new_key(name, now=time.time()) for name in ("crowd", "single")]
        for each in made:
            await store.insert_key(each.key)
        timeout = aiohttp.ClientTimeout(total=300)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            many, single = (Caller(session, service.url, each) for each in made)
            await probe(single, chance, digits, "before")
            numbers = [semiprime(chance, crowd_digits) for _ in range(crowd)]
            started, accepted = time.perf_counter(), 0
            for first in range(0, crowd, BATCH):
                accepted += await many.batch(numbers[first : first + BATCH])
            elapsed = time.perf_counter() - started
            print(
                f"{accepted} numbers of {crowd_digits} digits accepted in {elapsed:.1f} s",
                flush=True,
            )
            for _ in range(3):
                left = await store.count_live("crowd", limit=crowd)
                await probe(single, chance, digits, f"while {left} wait")
            begun, left = time.perf_counter(), await store.count_live("crowd", limit=crowd)
            await asyncio.sleep(10)
            done = left - await store.count_live("crowd", limit=crowd)
            print(
                f"the crowd is factored at {done / (time.perf_counter() - begun):.0f} numbers per second"
            )
        await store.close()


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fairness",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--crowd", type=int, default=50_000, help="how many numbers wait")
    parser.add_argument("--digits", type=int, default=DIGITS, help="of the single numbers")
    parser.add_argument("--crowd-digits", type=int, default=DIGITS, help="of the numbers that wait")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="factorline-") as folder:
        asyncio.run(measure(Path(folder), options.crowd, options.crowd_digits, options.digits))


if __name__ == "__main__":
    main()
