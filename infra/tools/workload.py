"""The numbers of tests/data/workload.json, and a check of a service's answers against their known factors.

Used by the benchmarks and by the tests of a whole installation.
"""

import asyncio
import json
import math
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

WORKLOAD = Path(__file__).parents[2] / "tests" / "data" / "workload.json"

BALANCED_LIMIT_DIGITS = 50
"""By default, products of two primes of equal size are chosen up to this size."""
MIXED_LIMIT_DIGITS = 100
"""By default, other numbers are chosen up to this size ..."""
SECOND_PRIME_LIMIT_DIGITS = 25
"""... if all their primes but the largest are within reach of elliptic curves."""


class Number(NamedTuple):
    """One number of the file, with its prime factors in ascending order."""

    name: str
    value: int
    primes: tuple[int, ...]


def numbers(
    limit: int = BALANCED_LIMIT_DIGITS, mixed_limit: int = MIXED_LIMIT_DIGITS
) -> list[Number]:
    """Return the numbers up to `limit` digits, and up to `mixed_limit` where curves do most of the work."""
    entries: list[dict[str, Any]] = json.loads(WORKLOAD.read_text())
    read = [
        Number(entry["name"], int(entry["n"]), tuple(sorted(map(int, entry["factors"]))))
        for entry in entries
    ]
    return [number for number in read if _within_reach(number, limit, mixed_limit)]


def _within_reach(number: Number, limit: int, mixed_limit: int) -> bool:
    digits = len(str(number.value))
    others = Counter(number.primes)
    del others[number.primes[-1]]
    second = max(others, default=1)
    return digits <= limit or (
        digits <= mixed_limit and len(str(second)) <= SECOND_PRIME_LIMIT_DIGITS
    )


async def ask(session: aiohttp.ClientSession, number: Number, timeout_s: float) -> str | None:
    """Return what is wrong with the service's answer for a number, or None.

    Args:
        session: A session whose base URL is the service's.
        number: The number to submit.
        timeout_s: Seconds to wait for the answer.

    """
    async with session.post("/factor", json={"number": str(number.value)}) as response:
        if response.status != 202:  # noqa: PLR2004 Accepted
            return f"HTTP {response.status}: {await response.text()}"
        task = await response.json()
    end = time.monotonic() + timeout_s
    while not task["done"]:
        if time.monotonic() > end:
            return f"no answer after {timeout_s:.0f} s, status {task['status']}"
        async with session.get(f"/tasks/{task['task_id']}", params={"wait": "20"}) as response:
            task = await response.json()
    answer = tuple(
        int(factor["prime"]) for factor in task["factors"] for _ in range(factor["exponent"])
    )
    if task["status"] != "succeeded":
        return f"it ended {task['status']}: {task['reason']}"
    if math.prod(answer) != number.value or tuple(sorted(answer)) != number.primes:
        return f"it answered {answer}"
    async with session.get(f"/get/{task['task_id']}") as response:
        result = (await response.json())["result"]
    return None if result == ",".join(map(str, number.primes)) else f"/get says {result}"


async def check(url: str, chosen: list[Number], *, timeout_s: float = 900.0) -> list[str]:
    """Submit all numbers at once; return a line for each wrong or missing answer."""
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(url, timeout=timeout) as session:
        problems = await asyncio.gather(*(ask(session, number, timeout_s) for number in chosen))
    return [
        f"{number.name}: {problem}"
        for number, problem in zip(chosen, problems, strict=True)
        if problem
    ]
