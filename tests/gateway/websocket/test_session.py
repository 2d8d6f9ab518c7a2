"""Real sockets on loopback, over the embedded store and broker."""

import asyncio
import random
import time
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from msgspec.structs import replace

from common.broker.memory import MemoryBroker
from common.domain import BigInt, Ending, Event, Status, Task, factorizations
from common.lifecycle import Lifecycle, new_task
from common.store.sqlite import SqliteStore
from gateway.websocket.close_codes import CloseCode

Client = TestClient[web.Request, web.Application]

SOCKETS = 50
ROUNDS = 4
TASKS_A_SOCKET = 50


async def begin(store: SqliteStore, numbers: range) -> list[Task]:
    """Insert a task for each number, with its factorization."""
    tasks = [new_task(number, str(number), "anonymous", at=1.7e9) for number in numbers]
    await asyncio.gather(
        *(store.create_factorization(factorizations.begin(task.key, 0.0)) for task in tasks)
    )
    return await store.insert_tasks(tasks)


async def end(store: SqliteStore, broker: MemoryBroker, number: int) -> None:
    """End a factorization as a worker would: swap it, end its tasks, tell the gateways."""
    lifecycle = Lifecycle(store, broker)
    known = await lifecycle.require(number)
    ending = Ending(status=Status.FAILED, at=time.time(), reason="a test")
    ended = replace(known, version=known.version + 1, outstanding={}, outbox=(), ended=ending)
    assert await store.swap_factorization(ended)
    await lifecycle.end_live_tasks(ended)
    await broker.tell(Event(number=BigInt(number), version=ended.version))


async def receive(socket: Any) -> dict[str, Any]:
    """Return the next frame."""
    async with asyncio.timeout(60):
        frame: dict[str, Any] = await socket.receive_json()
    return frame


@pytest.mark.timeout(400)
async def test_exactly_one_done_when_subscribing_at_completion(
    client: Client, store: SqliteStore, broker: MemoryBroker
) -> None:
    """In 10 000 subscriptions that race with the ending, each gets one snapshot and one done."""
    asyncio.get_running_loop().set_debug(False)  # it would take minutes
    chance = random.Random(20261124)

    async def trial(first: int) -> None:
        tasks = await begin(store, range(first, first + TASKS_A_SOCKET))
        async with client.ws_connect("/ws", protocols=("factorline.v1",)) as socket:
            assert "hello" == (await receive(socket))["type"]

            async def end_all() -> None:
                for task in tasks:
                    await asyncio.sleep(chance.uniform(0, 0.01))
                    await end(store, broker, task.key)

            ending = asyncio.create_task(end_all())
            for task in tasks:
                await asyncio.sleep(chance.uniform(0, 0.01))
                await socket.send_json({"type": "subscribe", "task_ids": [task.task_id]})
            await ending
            story: dict[str, list[str]] = {task.task_id: [] for task in tasks}
            while not all(kinds[-1:] == ["done"] for kinds in story.values()):
                frame = await receive(socket)
                story[frame["task"]["task_id"]].append(frame["type"])
            await socket.send_json({"type": "ping"})
            assert "pong" == (await receive(socket))["type"]
        for kinds in story.values():
            assert ["snapshot", "done"] == [kinds[0], kinds[-1]]
            assert 1 == kinds.count("snapshot") == kinds.count("done")

    for number in range(ROUNDS):
        start = 1000 + number * SOCKETS * TASKS_A_SOCKET
        await asyncio.gather(*(trial(start + i * TASKS_A_SOCKET) for i in range(SOCKETS)))


async def test_an_unknown_task_is_an_error_and_the_socket_stays(client: Client) -> None:
    """The error names the task."""
    async with client.ws_connect("/ws") as socket:
        await receive(socket)
        await socket.send_json({"type": "subscribe", "task_ids": ["nobody"], "id": 3})
        error = await receive(socket)
        await socket.send_json({"type": "ping"})

        assert ("error", "nobody", 3) == (error["type"], error["task_id"], error["id"])
        assert 404 == error["problem"]["status"]
        assert "pong" == (await receive(socket))["type"]


async def test_too_much_junk_closes_the_socket(client: Client) -> None:
    """The close code tells the client not to come back."""
    async with client.ws_connect("/ws") as socket:
        for _ in range(30):
            await socket.send_str("junk")
        async with asyncio.timeout(10):
            async for _ in socket:
                pass

        assert CloseCode.TOO_MUCH_JUNK == socket.close_code


async def test_a_page_of_another_site_is_refused(client: Client) -> None:
    """A foreign Origin is refused with 403."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await client.ws_connect("/ws", origin="https://elsewhere.example")

    assert 403 == caught.value.status


async def test_a_stopping_gateway_tells_its_sockets_to_come_back(client: Client) -> None:
    """Shutdown closes every socket with 1012."""
    async with client.ws_connect("/ws") as socket:
        await receive(socket)
        async with asyncio.timeout(10):
            await asyncio.gather(client.server.close(), socket.receive())

        assert CloseCode.SERVICE_RESTART == socket.close_code
