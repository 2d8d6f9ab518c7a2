"""What the how-tos promise to an operator: an upgrade, a lost broker or a restored store loses nothing."""

import asyncio
import contextlib
import shutil
from collections.abc import Mapping
from typing import Any, Self

import aiohttp
import pymongo
import pytest

import factorline
from infra.local.stack import Stack
from tests import waiting
from tests.stack.client import Client, Task, semiprimes

pytestmark = pytest.mark.timeout(300)

Dump = dict[str, list[dict[str, Any]]]


class Traffic:
    """Requests that go on for as long as the block lasts; none may fail."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self._url = url
        self._headers = headers
        self.answered = 0
        self.failed: list[str] = []

    async def __aenter__(self) -> Self:
        """Begin."""
        self._tasks = [asyncio.create_task(self._ask()) for _ in range(4)]
        return self

    async def __aexit__(self, *_: object) -> None:
        """End."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _ask(self) -> None:
        async with aiohttp.ClientSession(self._url, headers=self._headers) as session:
            while True:
                try:
                    async with session.post("/factor", json={"number": "1234"}) as response:
                        body = await response.text()
                    if response.status != 202:
                        self.failed.append(f"{response.status} {body}")
                    self.answered += 1
                except aiohttp.ClientError as error:
                    self.failed.append(repr(error))
                await asyncio.sleep(0.01)


async def test_a_rolling_restart_loses_nothing(stack: Stack, client: Client) -> None:
    """Every gateway and worker is replaced under load; no request fails, and each task ends once."""
    numbers = [hard(seed=11), *semiprimes(10, digits=40, seed=9)]
    tasks = await client.submit_all(numbers)
    ends: list[str] = []

    async def watch(task: Task) -> None:
        async with factorline.Client(stack.url) as watcher:
            states = [state async for state in watcher.watch(task["task_id"])]
        ends.extend(state.task_id for state in states if state.done)

    watching = asyncio.gather(*(watch(task) for task in tasks))
    async with Traffic(stack.url) as traffic:
        for program in (*stack.gateways, *stack.workers):
            await program.stop()
            await program.start()
            await waiting.until(stack.haproxy.ready, "the balancer")
            if program in stack.gateways:
                await in_service(stack, program.name)

    assert [] == traffic.failed
    assert traffic.answered > 100
    await client.all_right(tasks)
    await watching
    assert sorted(task["task_id"] for task in tasks) == sorted(ends)


def hard(*, seed: int) -> int:
    """Return a number that is sieved in units for some seconds, and that no other test has asked for."""
    [number] = semiprimes(1, digits=62, seed=seed)
    return number


async def in_service(stack: Stack, name: str) -> None:
    """Return when the balancer sends requests to a gateway again."""

    async def up() -> bool:
        return name in await in_rotation(stack.haproxy.statistics_url, stack.haproxy.password)

    await waiting.until(up, f"{name} behind the balancer")


async def in_rotation(statistics_url: str, password: str) -> set[str]:
    """Return the names of the gateways that a balancer sends requests to."""
    login = {"Authorization": aiohttp.encode_basic_auth("operator", password)}
    async with (
        aiohttp.ClientSession(headers=login) as session,
        session.get(f"{statistics_url};csv") as response,
    ):
        rows = [line.split(",") for line in (await response.text()).splitlines()]
    return {
        row[1]
        for row in rows
        if len(row) > 17 and (row[0], row[17]) == ("gateways", "UP") and row[1] != "BACKEND"
    }


@pytest.mark.rehearsal
async def test_a_store_restored_from_a_backup(stack: Stack, client: Client) -> None:
    """The backup is of the middle of a sieve, and the broker is as empty as on a new machine."""
    ended = await client.submit(1234)
    await client.all_right([ended])
    task = await client.submit(hard(seed=12))
    await sieving(client, task)
    for worker in stack.workers:
        worker.kill()
    backup = dump(stack.mongo.uri)
    for process in (*stack.gateways, stack.rabbitmq, stack.mongo):
        await process.stop()
    shutil.rmtree(stack.rabbitmq.folder / "mnesia")
    shutil.rmtree(stack.mongo.folder / "data")
    await stack.mongo.start()
    restore(stack.mongo.uri, backup)
    for process in (stack.rabbitmq, *stack.gateways, *stack.workers):
        await process.start()
    await waiting.until(stack.haproxy.ready, "the balancer to see its gateways")

    assert backup["batches"]
    await client.all_right([task, ended])


async def sieving(client: Client, task: Task) -> None:
    """Return when some relations are stored."""

    async def some() -> bool:
        sieve = (await client.get(task))["progress"]["sieve"]
        return sieve is not None and sieve["full"] > 0

    await waiting.until(some, "relations", seconds=60)


def dump(uri: str) -> Dump:
    """Return everything that a server holds, as `mongodump` writes it."""
    with contextlib.closing(pymongo.MongoClient[dict[str, Any]](uri)) as server:
        database = server.get_default_database()
        return {name: list(database[name].find()) for name in database.list_collection_names()}


def restore(uri: str, backup: Dump) -> None:
    """Put it back into an empty server."""
    with contextlib.closing(pymongo.MongoClient[dict[str, Any]](uri)) as server:
        database = server.get_default_database()
        for name, documents in backup.items():
            if documents:
                database[name].insert_many(documents)
