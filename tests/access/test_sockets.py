"""API keys on WebSockets: they must come in time, have limits, and can be revoked."""

import asyncio
import time
from typing import Any

import aiohttp
import pytest

from common.store.sqlite import SqliteStore
from gateway.context import DOORKEEPER
from gateway.websocket import session
from gateway.websocket.close_codes import CloseCode
from tests import waiting
from tests.access.conftest import Client, MakeKey, bearer

Socket = aiohttp.ClientWebSocketResponse[bool]


async def receive(socket: Socket) -> dict[str, Any]:
    """Return the next frame."""
    async with asyncio.timeout(20):
        frame: dict[str, Any] = await socket.receive_json()
    return frame


async def closed(socket: Socket) -> int | None:
    """Return the code with which the other side closes the socket."""
    async with asyncio.timeout(20):
        async for _ in socket:
            pass
    return socket.close_code


async def test_a_browser_shows_its_key_in_the_first_frame(
    client: Client, make_key: MakeKey
) -> None:
    """Subscriptions are refused before it and accepted after it."""
    ann = await make_key("ann")
    made = await client.post("/factor", json={"number": 91}, headers=bearer(ann))
    task_id = (await made.json())["task_id"]
    async with client.ws_connect("/ws") as socket:
        assert (await receive(socket))["authenticated"] is False
        await socket.send_json({"type": "subscribe", "task_ids": [task_id]})
        refused = await receive(socket)
        assert (401, "error") == (refused["problem"]["status"], refused["type"])
        await socket.send_json({"type": "authenticate", "key": ann.secret, "id": 1})
        assert {"type": "authenticated", "id": 1} == await receive(socket)
        await socket.send_json({"type": "subscribe", "task_ids": [task_id]})
        assert "snapshot" == (await receive(socket))["type"]


async def test_a_key_in_the_handshake_needs_no_frame(client: Client, make_key: MakeKey) -> None:
    """The hello frame says so. A second key is refused, and the socket stays open."""
    ann = await make_key("ann")
    async with client.ws_connect("/ws", headers=bearer(ann)) as socket:
        assert (await receive(socket))["authenticated"] is True
        await socket.send_json({"type": "authenticate", "key": ann.secret})
        assert 400 == (await receive(socket))["problem"]["status"]
        await socket.send_json({"type": "ping"})
        assert "pong" == (await receive(socket))["type"]


async def test_a_wrong_key_gets_no_socket(client: Client) -> None:
    """The answer to the handshake is 401; to a frame it is an error and a code not to come back."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await client.ws_connect("/ws", headers={"Authorization": f"Bearer fl_{'x' * 43}"})
    assert 401 == caught.value.status
    for key in ("", "x", f"fl_{'x' * 43}", "fl_" + "\u00e9" * 43):
        async with client.ws_connect("/ws") as socket:
            await receive(socket)
            await socket.send_json({"type": "authenticate", "key": key})
            assert 401 == (await receive(socket))["problem"]["status"]
            assert CloseCode.NOT_AUTHENTICATED == await closed(socket)


async def test_a_key_in_the_address_is_ignored(client: Client, make_key: MakeKey) -> None:
    """Addresses end up in logs, so a key in one is ignored."""
    ann = await make_key("ann")
    for name in ("key", "token", "access_token", "authorization"):
        response = await client.get("/tasks", params={name: ann.secret})
        assert 401 == response.status
        async with client.ws_connect(f"/ws?{name}={ann.secret}") as socket:
            assert (await receive(socket))["authenticated"] is False


async def test_a_socket_without_a_key_is_closed_in_time(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other frames do not extend the time."""
    assert 5.0 == session.AUTHENTICATE_SECONDS
    monkeypatch.setattr(session, "AUTHENTICATE_SECONDS", 0.3)
    started = time.monotonic()
    async with client.ws_connect("/ws") as socket:
        await socket.send_json({"type": "ping"})
        assert CloseCode.NOT_AUTHENTICATED == await closed(socket)
    assert time.monotonic() - started < 5


async def test_strangers_never_take_all_sockets(client: Client, make_key: MakeKey) -> None:
    """Sockets without a key get at most a quarter of all sockets."""
    ann = await make_key("ann")
    app = client.app
    assert app is not None
    app[DOORKEEPER].unauthenticated = 2500
    async with client.ws_connect("/ws") as socket:
        assert CloseCode.TOO_MANY_SOCKETS == await closed(socket)
    async with client.ws_connect("/ws", headers=bearer(ann)) as socket:
        assert "hello" == (await receive(socket))["type"]


async def test_sockets_of_a_key_are_counted(client: Client, make_key: MakeKey) -> None:
    """A fourth socket is told to back off, another key's is not, and closing one makes room."""
    ann, bob = await make_key("ann"), await make_key("bob")
    sockets = [await client.ws_connect("/ws", headers=bearer(ann)) for _ in range(3)]
    for socket in sockets:
        await receive(socket)
    assert CloseCode.TOO_MANY_SOCKETS == await closed(
        await client.ws_connect("/ws", headers=bearer(ann))
    )
    assert "hello" == (await receive(await client.ws_connect("/ws", headers=bearer(bob))))["type"]
    await sockets[0].close()
    assert "hello" == (await receive(await client.ws_connect("/ws", headers=bearer(ann))))["type"]


@pytest.mark.usefixtures("every_number_queued")
async def test_subscriptions_of_a_key_are_counted_over_its_sockets(
    client: Client, make_key: MakeKey
) -> None:
    """Two sockets follow five tasks and no sixth, until one is unsubscribed or a socket closes."""
    ann = await make_key("ann")
    body = {"numbers": list(range(100, 110))}
    made = await (await client.post("/tasks/batch", json=body, headers=bearer(ann))).json()
    ids = [item["task"]["task_id"] for item in made["items"]]
    first, second = [await client.ws_connect("/ws", headers=bearer(ann)) for _ in range(2)]

    async def subscribe(socket: Socket, *task_ids: str) -> list[str]:
        await socket.send_json({"type": "subscribe", "task_ids": task_ids, "id": "s"})
        found: list[str] = []
        while len(found) < len(task_ids):
            frame = await receive(socket)
            if frame.get("id") == "s":
                found.append(frame["type"])
                if frame["type"] == "error" and "task_id" not in frame:
                    break
        return found

    assert ["snapshot"] * 3 == await subscribe(first, *ids[:3])
    assert ["snapshot"] * 2 == await subscribe(second, *ids[3:5])
    assert ["error"] == await subscribe(second, ids[5])
    await second.send_json({"type": "unsubscribe", "task_ids": [ids[3]]})
    assert ["snapshot"] == await subscribe(first, ids[5])
    await second.close()
    third = await client.ws_connect("/ws", headers=bearer(ann))

    async def taken() -> bool:
        return await subscribe(third, ids[6]) == ["snapshot"]

    await waiting.until(taken, "the place of the socket that closed")
    assert ["error"] == await subscribe(third, *ids[7:9])


async def test_revocation_closes_sockets_at_both_gateways(
    gateways: list[Client], make_key: MakeKey, store: SqliteStore
) -> None:
    """They close within seconds, with a code that says not to come back; other keys' sockets stay open."""
    ann, bob = await make_key("ann"), await make_key("bob")
    sockets = [await gateway.ws_connect("/ws", headers=bearer(ann)) for gateway in gateways]
    other = await gateways[0].ws_connect("/ws", headers=bearer(bob))
    shown = await gateways[1].ws_connect("/ws")
    await shown.send_json({"type": "authenticate", "key": ann.secret})
    assert {"hello", "authenticated"} == {(await receive(shown))["type"] for _ in range(2)}
    started = time.monotonic()
    await store.revoke_key(ann.key.key_id, time.time())
    codes = await asyncio.gather(*(closed(socket) for socket in (*sockets, shown)))

    assert {CloseCode.KEY_REVOKED} == set(codes)
    assert time.monotonic() - started < 8
    await receive(other)
    await other.send_json({"type": "ping"})
    assert "pong" == (await receive(other))["type"]


async def test_only_pages_of_listed_sites_may_connect(client: Client, make_key: MakeKey) -> None:
    """The gateway's own pages and those of FACTORLINE_ORIGINS may; others may not, even with a valid key."""
    ann = await make_key("ann")
    assert client.server is not None
    own = f"http://{client.host}:{client.port}"
    for origin in (own, "https://a.example"):
        async with client.ws_connect("/ws", origin=origin) as socket:
            assert "hello" == (await receive(socket))["type"]
    for origin in (
        "https://b.example",
        "null",
        "https://a.example.evil",
        f"{own}1",
        "http://a.example",
    ):
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await client.ws_connect("/ws", origin=origin, headers=bearer(ann))
        assert 403 == caught.value.status


async def test_a_subscription_counts_as_a_request(client: Client, make_key: MakeKey) -> None:
    """Subscribing over a socket is limited like requests."""
    ann = await make_key("ann", requests_per_second=0.01, burst=2)
    async with client.ws_connect("/ws", headers=bearer(ann)) as socket:
        await receive(socket)
        problems = []
        for task_id in ("a", "b"):
            await socket.send_json({"type": "subscribe", "task_ids": [task_id]})
            problems.append((await receive(socket))["problem"]["status"])

        assert [404, 429] == problems
