"""/status shows workers and queues, and null for what is down."""

import time

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from common.broker.memory import MemoryBroker
from common.domain import ALIVE_SECONDS, WorkerStatus
from common.runtime.settings import Settings
from common.store.sqlite import SqliteStore
from gateway.app import create_app
from tests.gateway.test_documents import check
from tests.waiting import until

Client = TestClient[web.Request, web.Application]


def worker(name: str, *, seen_at: float) -> WorkerStatus:
    """Return the heartbeat of a worker that computes one unit."""
    return WorkerStatus(
        worker_id=name,
        host="h",
        pid=7,
        slots=2,
        running=("u-1",),
        units_done=5,
        started_at=seen_at - 60,
        seen_at=seen_at,
    )


async def test_live_workers_are_shown(client: Client, store: SqliteStore) -> None:
    """A worker that has been silent for too long is not shown."""
    now = time.time()
    await store.heartbeat(worker("a", seen_at=now))
    await store.heartbeat(worker("b", seen_at=now - ALIVE_SECONDS - 5))
    shown = await (await client.get("/status")).json()
    check("ServiceStatus", shown)
    [seen] = shown["workers"]

    assert ("a", 2, 1, 5) == (
        seen["worker_id"],
        seen["slots"],
        seen["running"],
        seen["units_done"],
    )


async def test_the_version_is_shown(store: SqliteStore, broker: MemoryBroker) -> None:
    """An operator and the OpenAPI document see the version that the program was started with."""
    app = create_app(Settings(version="1.2.3"), store=store, broker=broker)
    async with TestClient(TestServer(app)) as client:
        status = await (await client.get("/status")).json()
        document = await (await client.get("/openapi.json")).json()

    assert ("1.2.3", "1.2.3") == (status["version"], document["info"]["version"])


@pytest.mark.usefixtures("every_number_queued")
async def test_queues_are_counted(client: Client) -> None:
    """A number that no worker has taken leaves its survey unit in the queue."""
    await client.post("/factor", json={"number": 91})
    shown = await (await client.get("/status")).json()

    assert {"factor.survey": 1, "factor.work": 0, "factor.dead": 0} == {
        queue["name"]: queue["waiting"] for queue in shown["queues"]
    }


async def test_sockets_are_counted(client: Client) -> None:
    """An open socket counts, a closed one does not."""

    async def sockets() -> int:
        return int((await (await client.get("/status")).json())["sockets"])

    async with client.ws_connect("/ws", protocols=["factorline.v1"]) as socket:
        await socket.receive_json()
        assert 1 == await sockets()

    async def none_left() -> bool:
        return await sockets() == 0

    await until(none_left, "the socket's end")


async def test_what_is_down_is_null(
    client: Client, store: SqliteStore, broker: MemoryBroker
) -> None:
    """With the broker and the store closed, everything else is still shown."""
    await broker.close()
    await store.close()
    response = await client.get("/status")
    shown = await response.json()
    check("ServiceStatus", shown)

    assert (200, None, False) == (response.status, shown["workers"], shown["broker_connected"])
    assert {None} == {queue["waiting"] for queue in shown["queues"]}


async def test_the_management_page_is_linked_if_it_is_known(
    client: Client, store: SqliteStore, broker: MemoryBroker
) -> None:
    """The address is a setting; without it there is no link."""
    address = "http://127.0.0.1:15672/"
    app = create_app(Settings(management_url=address), store=store, broker=broker)
    async with TestClient(TestServer(app)) as other:
        told = await (await other.get("/status")).json()
    untold = await (await client.get("/status")).json()

    assert (address, None) == (told["management_url"], untold["management_url"])
