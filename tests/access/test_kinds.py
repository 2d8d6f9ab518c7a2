"""Keys that expire, that may only read, or that may be used in some places only; and the audit log."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
import structlog
from aiohttp.test_utils import TestClient, TestServer
from msgspec.structs import replace

from common.broker.memory import MemoryBroker
from common.domain import ApiKey, NewKey
from common.runtime import audit
from common.runtime.settings import Settings
from common.store.sqlite import SqliteStore
from gateway.access import Doorkeeper, doorkeeper
from gateway.app import create_app
from gateway.context import DOORKEEPER
from gateway.websocket.close_codes import CloseCode
from tests.access.conftest import SETTINGS, Client, MakeKey, bearer
from tests.access.test_sockets import closed, receive

UNKNOWN = {"Authorization": f"Bearer fl_{'x' * 43}"}


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    """Yield what is logged."""
    with structlog.testing.capture_logs() as entries:
        yield entries


def door_of(client: Client) -> Doorkeeper:
    """Return the doorkeeper of a gateway."""
    assert client.app is not None
    return client.app[DOORKEEPER]


@pytest.mark.usefixtures("every_number_queued")
async def test_a_read_only_key_reads_and_follows_and_does_nothing_else(
    client: Client, make_key: MakeKey, store: SqliteStore
) -> None:
    """It may be given to a page that shows tasks: submitting and cancelling are 403, and change nothing."""
    ann, reader = await make_key("ann"), await make_key("reader", read_only=True)
    await store.insert_key(replace(reader.key, owner="ann"))
    made = await client.post("/factor", json={"number": 91}, headers=bearer(ann))
    task_id = (await made.json())["task_id"]
    for path in ("/tasks", f"/tasks/{task_id}", f"/get/{task_id}", "/numbers/91"):
        assert 200 == (await client.get(path, headers=bearer(reader))).status
    async with client.ws_connect("/ws", headers=bearer(reader)) as socket:
        await receive(socket)
        await socket.send_json({"type": "subscribe", "task_ids": [task_id]})
        assert "snapshot" == (await receive(socket))["type"]
    for method, path, body in (
        ("POST", "/factor", {"number": 93}),
        ("POST", "/tasks/batch", {"numbers": [93]}),
        ("DELETE", f"/tasks/{task_id}", None),
    ):
        refused = await client.request(method, path, json=body, headers=bearer(reader))
        assert 403 == refused.status
        problem = await refused.json()
        assert "/problems/not-allowed" == problem["type"]
        assert "read-only" in problem["detail"]

    [task] = await store.list_tasks("ann", before=None, limit=9)
    assert task.ended is None


async def test_an_expired_key_is_refused_and_its_sockets_are_closed(
    client: Client, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the moment that was chosen when it was made, by the clock of the store."""
    monkeypatch.setattr(doorkeeper, "RECHECK_SECONDS", 0.1)
    late = await make_key("late", expires_at=time.time() - 1)
    soon = await make_key("soon", expires_at=time.time() + 1.5)
    assert 401 == (await client.get("/tasks", headers=bearer(late))).status
    async with client.ws_connect("/ws") as socket:
        await receive(socket)
        await socket.send_json({"type": "authenticate", "key": soon.secret})
        assert "authenticated" == (await receive(socket))["type"]
        assert 200 == (await client.get("/tasks", headers=bearer(soon))).status
        assert CloseCode.KEY_REVOKED == await closed(socket)
    assert soon.key.expires_at is not None
    assert time.time() >= soon.key.expires_at
    assert 401 == (await client.get("/tasks", headers=bearer(soon))).status


@pytest.mark.usefixtures("every_number_queued")
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_long_poll_ends_when_its_key_is_revoked(
    client: Client,
    make_key: MakeKey,
    store: SqliteStore,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    """It would tell the result a minute later; another key's goes on."""
    monkeypatch.setattr(doorkeeper, "RECHECK_SECONDS", 0.1)
    ann, bob = await make_key("ann"), await make_key("bob")

    async def wait(key: NewKey, seconds: int) -> int:
        headers = bearer(key)
        if method == "POST":
            headers["Prefer"] = f"wait={seconds}"
            return (await client.post("/factor", json={"number": 91}, headers=headers)).status
        made = await client.post("/factor", json={"number": 91}, headers=headers)
        path = f"/tasks/{(await made.json())['task_id']}?wait={seconds}"
        return (await client.get(path, headers=headers)).status

    polls = [asyncio.create_task(wait(ann, 50)), asyncio.create_task(wait(bob, 2))]
    await asyncio.sleep(0.5)
    await store.revoke_key(ann.key.key_id, 1.0)
    async with asyncio.timeout(20):
        statuses = await asyncio.gather(*polls)

    assert [401, 200 if method == "GET" else 202] == statuses


def from_address(address: str) -> dict[str, str]:
    """Return the header that a load balancer adds."""
    return {"X-Forwarded-For": address}


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("10.1.2.3", 200),
        ("::ffff:10.1.2.3", 200),
        ("2001:db8::7", 200),
        ("11.1.2.3", 401),
        ("2001:db9::7", 401),
        ("10.1.2.3, 11.1.2.3", 401),  # what a client claims comes first
        ("11.1.2.3, 10.1.2.3", 200),
        ("nonsense", 401),
        ("10.1.2.3, nonsense", 401),
    ],
)
async def test_a_key_for_some_networks_is_unknown_elsewhere(
    client: Client, make_key: MakeKey, address: str, status: int
) -> None:
    """A thief does not even learn that it is a key: the answer is that for an unknown one, byte for byte."""
    ann = await make_key("ann", networks=("10.0.0.0/8", "2001:db8::/32"))
    answers = []
    for key in (bearer(ann), UNKNOWN):
        response = await client.get("/tasks", headers={**key, **from_address(address)})
        fields = {name: value for name, value in response.headers.items() if name != "Date"}
        answers.append((response.status, fields, await response.text()))

    assert status == answers[0][0]
    assert (status == 200) or answers[0] == answers[1]


async def test_a_key_for_some_networks_opens_no_socket_elsewhere(
    client: Client, make_key: MakeKey
) -> None:
    """Neither with the handshake nor with a frame; at home both do."""
    ann = await make_key("ann", networks=("10.0.0.0/8",))
    for address, opens in (("10.1.2.3", True), ("11.1.2.3", False)):
        headers = from_address(address)
        async with client.ws_connect("/ws", headers=headers) as socket:
            await receive(socket)
            await socket.send_json({"type": "authenticate", "key": ann.secret})
            assert ("authenticated" if opens else "error") == (await receive(socket))["type"]
        if opens:
            async with client.ws_connect("/ws", headers={**headers, **bearer(ann)}) as socket:
                assert "hello" == (await receive(socket))["type"]
            continue
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await client.ws_connect("/ws", headers={**headers, **bearer(ann)})
        assert 401 == caught.value.status


async def test_only_a_proxy_that_is_named_is_believed(
    store: SqliteStore, broker: MemoryBroker, make_key: MakeKey
) -> None:
    """Anybody can send X-Forwarded-For."""
    ann = await make_key("ann", networks=("10.0.0.0/8",))
    app = create_app(replace(SETTINGS, proxies=""), store=store, broker=broker)
    async with TestClient(TestServer(app)) as direct:
        headers = {**bearer(ann), **from_address("10.1.2.3")}
        assert 401 == (await direct.get("/tasks", headers=headers)).status


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("10.0.0.2", ["192.0.2.7"], "192.0.2.7"),
        ("10.0.0.2", ["6.6.6.6, 192.0.2.7"], "192.0.2.7"),
        ("10.0.0.2", ["6.6.6.6", "192.0.2.7, 10.0.0.3"], "192.0.2.7"),
        ("10.0.0.2", [], "10.0.0.2"),
        ("10.0.0.2", ["unknown"], "10.0.0.2"),
        ("192.0.2.1", ["192.0.2.7"], "192.0.2.1"),
        (None, ["192.0.2.7"], ""),
    ],
)
def test_a_clients_address_is_the_nearest_that_is_no_proxy(
    store: SqliteStore, peer: str | None, forwarded: list[str], found: str
) -> None:
    """What a client writes into the header itself is never reached."""
    door = Doorkeeper(Settings(keys=True, proxies="10.0.0.0/24"), store)

    assert found == door.address_of(peer, forwarded)


async def test_the_last_use_of_a_key_is_noted_once_a_minute(
    gateways: list[Client], make_key: MakeKey, store: SqliteStore, logged: list[Any]
) -> None:
    """Not while a request is answered. The first use is in the audit log, once over all gateways."""
    ann = await make_key("ann")
    for gateway in gateways:
        for _ in range(3):
            await gateway.get("/tasks", headers={**bearer(ann), **from_address("192.0.2.7")})
    [key] = await store.find_keys([ann.key.digest])
    assert key.last_used_at is None
    written: list[str] = []
    mark = store.mark_key_used

    async def counted(digest: str, at: float) -> bool:
        written.append(digest)
        return await mark(digest, at)

    store.mark_key_used = counted  # type: ignore[method-assign]
    for _ in range(2):
        for gateway in gateways:
            await door_of(gateway).recheck()
            await gateway.get("/tasks", headers=bearer(ann))
    [key] = await store.find_keys([ann.key.digest])
    assert key.last_used_at is not None
    assert abs(key.last_used_at - time.time()) < 30
    assert [ann.key.digest] * 2 == written
    first = [entry for entry in logged if entry["event"] == "API key used for the first time"]
    assert [(ann.key.key_id, "ann", "192.0.2.7")] == [
        (entry["key_id"], entry["owner"], entry["address"]) for entry in first
    ]


@pytest.mark.usefixtures("every_number_queued")
async def test_the_audit_log_says_who_cancelled_and_what_was_refused(
    client: Client, make_key: MakeKey, store: SqliteStore, logged: list[Any]
) -> None:
    """Each line says from where, and none contains a key."""
    ann = await make_key("ann")
    reader = await make_key("reader", read_only=True)
    home = await make_key("home", networks=("10.0.0.0/8",))
    late = await make_key("late", expires_at=1.0)
    gone = await make_key("gone")
    await store.revoke_key(gone.key.key_id, 1.0, by="ops@here")
    where = from_address("192.0.2.7")
    made = await client.post("/factor", json={"number": 91}, headers={**bearer(ann), **where})
    task_id = (await made.json())["task_id"]
    for _ in range(2):
        await client.delete(f"/tasks/{task_id}", headers={**bearer(ann), **where})
    for headers in (
        bearer(home),
        bearer(late),
        bearer(gone),
        UNKNOWN,
        {"Authorization": "Basic x"},
    ):
        await client.get("/tasks", headers={**headers, **where})
    await client.get("/tasks", headers=where)
    await client.get("/status", headers={**bearer(ann), **where})
    await client.post("/factor", json={"number": 91}, headers={**bearer(reader), **where})

    lines = [entry for entry in logged if entry["event"] in {"Task cancelled", "API key refused"}]
    assert {"192.0.2.7"} == {entry["address"] for entry in lines}
    cancelled = [entry for entry in lines if entry["event"] == "Task cancelled"]
    assert [("ann", ann.key.key_id, task_id)] == [
        (entry["owner"], entry["key_id"], entry["task_id"]) for entry in cancelled
    ]
    refused = [(entry["why"], entry.get("owner")) for entry in lines if "why" in entry]
    assert refused == [
        ("elsewhere", "home"),
        ("expired", "late"),
        ("revoked", "gone"),
        ("unknown", None),
        ("malformed", None),
        ("not an operator's", "ann"),
        ("read-only", "reader"),
    ]
    secrets = [each.secret for each in (ann, reader, home, late, gone)]
    assert not any(secret in repr(logged) for secret in [*secrets, "x" * 43])


def test_strangers_cannot_flood_the_audit_log(logged: list[Any]) -> None:
    """So many refusals a second are written; the next line says how many were not."""
    refusals = audit.Refusals()
    seconds = iter([5.0] * 100 + [6.0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("common.runtime.audit.time.monotonic", lambda: next(seconds))
        for _ in range(101):
            refusals.record("API key refused", why="unknown")

    assert audit.REFUSALS_A_SECOND + 1 == len(logged)
    assert 100 - audit.REFUSALS_A_SECOND == logged[-1]["left_out"]


def test_a_key_of_an_earlier_version_is_read() -> None:
    """It never expires, may do everything and may be used everywhere; when it was last used is not known."""
    stored = {
        "v": 1,
        "key_id": "055d3ff84336",
        "digest": "055d3ff84336" + 52 * "0",
        "name": "laptop",
        "owner": "ann",
        "operator": False,
        "limits": {"tasks": 5},
        "created_at": 1.0,
        "revoked_at": None,
    }
    key = ApiKey.from_document(stored)

    assert key.is_valid(1e12)
    assert (False, (), None, "") == (key.read_only, key.networks, key.last_used_at, key.made_by)
