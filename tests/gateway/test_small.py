"""Small numbers are answered at once, without a unit; the store gets only the task."""

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from common.broker import Queue
from common.broker.memory import MemoryBroker
from common.store.sqlite import SqliteStore
from tests.metrics import moves

Client = TestClient[web.Request, web.Application]

LARGEST = 2**64 - 1


@pytest.mark.parametrize(
    ("number", "result"),
    [
        ("1234", "2,617"),
        ("-12", "-1,2,2,3"),
        ("2^61-1", str(2**61 - 1)),
        (str(LARGEST), "3,5,17,257,641,65537,6700417"),
    ],
)
async def test_the_answer_comes_with_the_id(
    client: Client, store: SqliteStore, broker: MemoryBroker, number: str, result: str
) -> None:
    """The answer to POST has the result, and so has every later one."""
    response = await client.post("/factor", json={"number": number})
    task = await response.json()
    url = response.headers["Location"]

    assert (202, "succeeded", True, result) == (
        response.status,
        task["status"],
        task["done"],
        task["result"],
    )
    assert "Retry-After" not in response.headers
    assert task == await (await client.get(url)).json()
    assert task == await (await client.delete(url)).json()
    assert {"result": result} == await (await client.get(f"/get/{task['task_id']}")).json()
    assert 0 == await broker.depth(Queue.SURVEY)
    assert await store.get_factorization(abs(int(task["number"]))) is None


async def test_the_next_number_is_for_workers(client: Client, broker: MemoryBroker) -> None:
    """2^64 is the smallest number that a worker factors."""
    task = await (await client.post("/factor", json={"number": LARGEST + 1})).json()

    assert ("queued", False) == (task["status"], task["done"])
    assert 1 == await broker.depth(Queue.SURVEY)


async def test_clients_that_prefer_to_wait_need_not(client: Client) -> None:
    """The answer is 200 at once, as for any result that comes in time."""
    prefer = {"Prefer": "wait=60"}
    response = await client.post("/factor", json={"number": 1234}, headers=prefer)

    assert (200, "2,617") == (response.status, (await response.json())["result"])


async def test_in_a_batch(client: Client) -> None:
    """Small numbers of a batch are done while a large one waits."""
    numbers = [1234, LARGEST + 1, 91]
    body = await (await client.post("/tasks/batch", json={"numbers": numbers})).json()

    assert [True, False, True] == [item["task"]["done"] for item in body["items"]]


async def test_the_same_key_gives_the_same_task(client: Client) -> None:
    """Repeating a request makes no second task, as for a large number."""
    tasks = [
        await (
            await client.post("/factor", json={"number": 91}, headers={"Idempotency-Key": "k"})
        ).json()
        for _ in range(2)
    ]

    assert tasks[0] == tasks[1]


async def test_a_subscriber_hears_done_after_the_snapshot(client: Client) -> None:
    """The subscriber gets one snapshot and one done."""
    task = await (await client.post("/factor", json={"number": 1234})).json()
    async with client.ws_connect("/ws", protocols=("factorline.v1",)) as socket:
        await socket.receive_json()
        await socket.send_json({"type": "subscribe", "task_ids": [task["task_id"]]})
        frames = [await socket.receive_json(timeout=5) for _ in range(2)]
        await socket.send_json({"type": "ping", "id": "last"})

        assert ["snapshot", "done"] == [frame["type"] for frame in frames]
        assert [task, task] == [frame["task"] for frame in frames]
        assert "pong" == (await socket.receive_json(timeout=5))["type"]


async def test_small_numbers_are_known_before_they_are_submitted(client: Client) -> None:
    """/numbers shows the factors of a small number that was never submitted."""
    statuses = {
        number: (await (await client.get(f"/numbers/{number}")).json())["status"]
        for number in ("91", "97", "-97", str(LARGEST + 1))
    }

    assert {"91": "FF", "97": "P", "-97": "FF", str(LARGEST + 1): "U"} == statuses


async def test_they_are_counted(client: Client) -> None:
    """The metric has a label that tells them from those that went to workers."""
    async with moves("factorline_tasks_total", ended="yes"):
        await client.post("/factor", json={"number": 1234})
