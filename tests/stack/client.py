"""A client that remembers what it was told, and checks later that it is still true."""

import asyncio
import math
import random
from typing import Any

import aiohttp

from tests import waiting

Task = dict[str, Any]


def semiprimes(count: int, *, digits: int, seed: int) -> list[int]:
    """Return distinct products of two primes with half the digits each, the same for the same seed."""
    import gmpy2  # noqa: PLC0415 only here

    chance = random.Random(seed)
    low, high = 10 ** (digits // 2 - 1), 10 ** (digits // 2)
    primes = [int(gmpy2.next_prime(chance.randrange(low, high))) for _ in range(2 * count)]
    return [p * q for p, q in zip(primes[:count], primes[count:], strict=True)]


class Client:
    """Submits numbers and checks what becomes of them."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self.ends: dict[str, Task] = {}
        """The first terminal representation of each task."""

    async def submit(self, number: int, **headers: str) -> Task:
        """Post a number; it must be accepted."""
        body = {"number": str(number)}
        async with self.session.post("/factor", json=body, headers=headers) as response:
            assert response.status == 202, await response.text()
            task: Task = await response.json()
            return task

    async def submit_all(self, numbers: list[int]) -> list[Task]:
        """Post numbers at the same time."""
        return await asyncio.gather(*(self.submit(number) for number in numbers))

    async def get(self, task: Task) -> Task:
        """Return a task's representation now."""
        async with self.session.get(f"/tasks/{task['task_id']}") as response:
            assert response.status == 200, await response.text()
            shown: Task = await response.json()
            return shown

    async def cancel(self, task: Task) -> Task:
        """Cancel a task."""
        async with self.session.delete(f"/tasks/{task['task_id']}") as response:
            assert response.status == 200, await response.text()
            shown: Task = await response.json()
            return shown

    async def running(self, task: Task) -> None:
        """Return when a worker has looked at the task's number."""

        async def runs() -> bool:
            return bool((await self.get(task))["status"] == "running")

        await waiting.until(runs, "a running task", seconds=60)

    async def end(self, task: Task, *, seconds: float = 100) -> Task:
        """Return the task's end, and remember it."""

        async def done() -> bool:
            shown = await self.get(task)
            if shown["done"]:
                self.ends.setdefault(task["task_id"], shown)
            return bool(shown["done"])

        await waiting.until(done, f"the end of {task['number']}", seconds=seconds)
        return self.ends[task["task_id"]]

    async def all_right(self, tasks: list[Task], *, seconds: float = 100) -> None:
        """Assert that every task succeeds with factors that multiply to its number, for good."""
        for task in tasks:
            end = await self.end(task, seconds=seconds)
            primes = [int(factor["prime"]) ** factor["exponent"] for factor in end["factors"]]
            assert ("succeeded", int(task["number"])) == (end["status"], math.prod(primes)), end
        assert [self.ends[task["task_id"]] for task in tasks] == [
            await self.get(task) for task in tasks
        ]
