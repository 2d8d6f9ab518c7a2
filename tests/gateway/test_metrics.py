"""Each thing that a gateway counts is counted when it happens."""

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from common.broker.memory import MemoryBroker
from common.domain import BigInt, Event
from common.domain.factorizations import begin
from common.lifecycle import new_task
from common.store.sqlite import SqliteStore
from gateway.context import HUB, LIFECYCLE
from gateway.websocket.close_codes import CloseCode
from tests import waiting
from tests.gateway.work import finish, part
from tests.metrics import moves, value

Client = TestClient[web.Request, web.Application]

HARD = BigInt((10**33 + 61) * (10**40 + 121))


async def test_requests(client: Client) -> None:
    """They are counted by route and not by path, so that clients cannot create time series at will."""
    async with (
        moves("factorline_http_requests_total", route="/factor", method="POST", status="400"),
        moves("factorline_http_request_seconds_count", route="/factor"),
    ):
        await client.post("/factor", json={"number": "what?"})
    async with moves(
        "factorline_http_requests_total", by=2, route="unknown", method="other", status="404"
    ):
        await client.request("PROPFIND", "/pot-1")
        await client.request("PROPFIND", "/pot-2")


async def test_sockets(client: Client) -> None:
    """Open sockets are counted, and closed ones by their close code."""
    async with moves("factorline_websockets"):
        socket = await client.ws_connect("/ws")
    async with moves("factorline_websockets_closed_total", code="1000"):
        await socket.close()
    async with moves("factorline_websockets_closed_total", code="other"):
        socket = await client.ws_connect("/ws")
        await socket.close(code=4999)
    async with moves("factorline_websockets_closed_total", code="4001"):
        socket = await client.ws_connect("/ws")
        for _ in range(30):
            await socket.send_str("junk")
        while not socket.closed:
            await socket.receive(timeout=5)
        assert CloseCode.TOO_MUCH_JUNK == socket.close_code
    await waiting.until(lambda: value("factorline_websockets") == 0, "no socket")


@pytest.mark.usefixtures("every_number_queued")
async def test_events(client: Client, store: SqliteStore, broker: MemoryBroker) -> None:
    """Events are counted by whether a client of this gateway follows the number."""
    task = await (await client.post("/factor", json={"number": 1234})).json()
    async with moves("factorline_events_total", followed="no"):
        await broker.tell(Event(number=BigInt(1234), version=1))
    async with moves("factorline_events_total", followed="yes"):
        waits = asyncio.create_task(client.get(f"/tasks/{task['task_id']}?wait=20"))
        await waiting.until(lambda: value("factorline_followed_numbers") == 1, "a follower")
        await finish(store, broker, 1234, part(2), part(617))
        assert (await (await waits).json())["done"]
    assert 0 == value("factorline_followed_numbers")
    assert (await client.app[LIFECYCLE].require(1234)).ended


async def test_gaps(client: Client) -> None:
    """After a reconnection everything is read again."""
    async with moves("factorline_event_gaps_total"):
        await client.app[HUB]._on_gap()  # noqa: SLF001 an embedded broker is never away


async def test_metrics_are_shown(client: Client) -> None:
    """/metrics has them in Prometheus's format."""
    response = await client.get("/metrics")

    assert "text/plain" in response.headers["Content-Type"]
    assert "# TYPE factorline_http_requests_total counter" in await response.text()


async def test_followers(client: Client, store: SqliteStore) -> None:
    """As many tasks are watched as open sockets follow, and none when they are closed."""
    await store.create_factorization(begin(HARD, 1.0))
    [task] = await store.insert_tasks([new_task(HARD, "", "anonymous", at=store.now())])
    async with (
        moves("factorline_followers"),
        moves("factorline_subscriptions"),
        moves("factorline_followed_numbers"),
    ):
        socket = await client.ws_connect("/ws")
        await socket.send_json({"type": "subscribe", "task_ids": [task.task_id]})
    before = [value("factorline_followers"), value("factorline_subscriptions")]
    await socket.close()
    await waiting.until(lambda: value("factorline_followers") < before[0], "the follower to go")

    after = [value("factorline_followers"), value("factorline_subscriptions")]
    assert [before[0] - 1, before[1] - 1] == after
