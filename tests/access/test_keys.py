"""API keys on requests: none is served without a key, and an owner sees only its own tasks."""

import asyncio
import re
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from common import errors
from common.broker.memory import MemoryBroker
from common.domain import ApiKey, api_keys
from common.runtime.settings import Settings
from common.store.sqlite import SqliteStore
from gateway.access import Access
from gateway.api.routes import ROUTES
from gateway.app import create_app
from gateway.websocket.close_codes import CloseCode
from tests import waiting
from tests.access.conftest import Client, MakeKey, bearer

CLOSED = [(route.method, route.path) for route in ROUTES if route.access is not Access.PUBLIC]
OPEN = [(route.method, route.path) for route in ROUTES if route.access is Access.PUBLIC]


def filled(path: str) -> str:
    """Return a path with something for each of its parameters."""
    return re.sub(r"\{task_id.*\}", str(uuid.UUID(int=1)), re.sub(r"\{number.*\}", "91", path))


@pytest.mark.parametrize(("method", "path"), [pair for pair in CLOSED if pair[1] != "/ws"])
@pytest.mark.parametrize(
    "header",
    [
        None,
        "Bearer",
        "Basic YTpi",
        "Bearer fl_short",
        f"Bearer fl_{'x' * 43}",
        f"Bearer fl_{'x' * 43} and more",
        "Bearer " + "\xe9" * 46,
    ],
)
async def test_no_call_is_answered_without_a_valid_key(
    client: Client, method: str, path: str, header: str | None
) -> None:
    """Whatever the call and the fault of the key, the answer is a 401 problem that names the scheme."""
    headers = {"Authorization": header} if header else {}
    response = await client.request(method, filled(path), headers=headers)

    assert 401 == response.status
    assert "/problems/unauthenticated" == (await response.json())["type"]
    assert response.headers["WWW-Authenticate"].startswith('Bearer realm="factorline"')
    assert (header is not None) == ("invalid_token" in response.headers["WWW-Authenticate"])


@pytest.mark.parametrize(
    ("values", "status"),
    [
        (["Bearer {}"], 200),
        (["bEARER   {}  "], 200),
        (["Bearer {}", "Bearer {}"], 401),
        (["Bearer {}", "Basic x"], 401),
        (["Bearer {}, Bearer {}"], 401),
        (["Bearer\t{}"], 401),
        (["Bearer\u00a0{}"], 401),
        (["Bearer {}\u00a0"], 401),
        (["Bearer {}="], 401),
        (['Bearer "{}"'], 401),
        (["Basic {}"], 401),
        (["{}"], 401),
    ],
)
async def test_a_valid_key_counts_in_one_form_only(
    client: Client, make_key: MakeKey, values: list[str], status: int
) -> None:
    """A proxy and a gateway that read a header differently would let a request pass as two callers."""
    ann = await make_key("ann")
    headers = [("Authorization", value.replace("{}", ann.secret)) for value in values]

    assert status == (await client.get("/tasks", headers=headers)).status
    for name in ("Proxy-Authorization", "X-Api-Key", "Cookie"):
        answer = await client.get("/tasks", headers={name: f"Bearer {ann.secret}"})
        assert 401 == answer.status


@pytest.mark.parametrize(("method", "path"), OPEN)
async def test_public_calls_need_no_key(client: Client, method: str, path: str) -> None:
    """Pages, documents and health are for everybody."""
    path = path.replace("{name}", "unauthenticated").replace("{version}/{file}", "x/main.js")

    assert 200 == (await client.request(method, path)).status


async def test_status_and_metrics_are_for_operators(client: Client, make_key: MakeKey) -> None:
    """/status and /metrics answer an operator's key, and refuse an ordinary one with a 403 problem."""
    ann, ops = await make_key("ann"), await make_key("ops", operator=True)
    for path in ("/status", "/metrics"):
        refused = await client.get(path, headers=bearer(ann))
        assert 403 == refused.status
        assert "/problems/not-allowed" == (await refused.json())["type"]
        assert "insufficient_scope" in refused.headers["WWW-Authenticate"]
        assert 200 == (await client.get(path, headers=bearer(ops))).status


async def test_a_revoked_key_is_refused_by_every_gateway(
    gateways: list[Client], make_key: MakeKey, store: SqliteStore
) -> None:
    """Both gateways have accepted the key before, and both refuse it after their next look-up."""
    ann = await make_key("ann")
    for gateway in gateways:
        assert 200 == (await gateway.get("/tasks", headers=bearer(ann))).status
    await store.revoke_key(ann.key.key_id, 1.0)
    await wait_for_refusal(gateways, bearer(ann))


async def wait_for_refusal(gateways: list[Client], headers: dict[str, str]) -> None:
    """Return when every gateway refuses a key; fail after some seconds."""

    async def refused() -> bool:
        return all([(await each.get("/tasks", headers=headers)).status == 401 for each in gateways])

    await waiting.until(refused, "both gateways to refuse the key", seconds=6)


def strip(response: aiohttp.ClientResponse) -> dict[str, str]:
    """Return the header fields of an answer without its date."""
    return {name: value for name, value in response.headers.items() if name != "Date"}


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/get/{}", {}),
        ("GET", "/tasks/{}", {}),
        ("HEAD", "/tasks/{}", {}),
        ("GET", "/tasks/{}?wait=5", {}),
        ("GET", "/tasks/{}", {"If-None-Match": '"2"'}),
        ("GET", "/tasks/{}?wait=5", {"If-None-Match": '"2"'}),
        ("DELETE", "/tasks/{}", {}),
    ],
)
@pytest.mark.usefixtures("every_number_queued")
async def test_another_owners_task_is_byte_for_byte_an_unknown_one(  # noqa: PLR0913, PLR0917 a case
    client: Client,
    make_key: MakeKey,
    method: str,
    path: str,
    headers: dict[str, str],
    store: SqliteStore,
) -> None:
    """Status, header fields and body are those of an id that does not exist; the task is unchanged."""
    ann, bob = await make_key("ann"), await make_key("bob")
    made = await client.post("/factor", json={"number": 91}, headers=bearer(ann))
    theirs, never = (await made.json())["task_id"], str(uuid.uuid4())
    answers = []
    for task_id in (theirs, never):
        asked = await client.request(
            method, path.format(task_id), headers={**headers, **bearer(bob)}
        )
        body = (await asked.text()).replace(task_id, "ID")
        answers.append((asked.status, strip(asked), body))

    assert answers[0] == answers[1]
    assert 404 == answers[0][0]
    assert (await store.get_task(theirs, "ann")).ended is None


async def test_another_owners_task_is_an_unknown_one_on_a_socket(
    client: Client, make_key: MakeKey
) -> None:
    """The error frames differ only in the id."""
    ann, bob = await make_key("ann"), await make_key("bob")
    made = await client.post("/factor", json={"number": 91}, headers=bearer(ann))
    theirs, never = (await made.json())["task_id"], str(uuid.uuid4())
    frames = []
    async with client.ws_connect("/ws", headers=bearer(bob)) as socket:
        await socket.receive_json()
        for task_id in (theirs, never):
            await socket.send_json({"type": "subscribe", "task_ids": [task_id]})
            frames.append((await socket.receive_str()).replace(task_id, "ID"))

    assert frames[0] == frames[1]
    assert "unknown-task" in frames[0]


async def test_lists_and_idempotency_keys_are_an_owners_own(
    client: Client, make_key: MakeKey
) -> None:
    """An Idempotency-Key that two owners use makes two tasks, and used twice by one owner makes one."""
    ann, bob = await make_key("ann"), await make_key("bob")
    made: list[Any] = []
    for each in (ann, bob, ann):
        headers = {"Idempotency-Key": "k", **bearer(each)}
        response = await client.post("/factor", json={"number": 91}, headers=headers)
        made.append((await response.json())["task_id"])
    listed = await (await client.get("/tasks", headers=bearer(bob))).json()

    assert made[0] == made[2] != made[1]
    assert [made[1]] == [task["task_id"] for task in listed["tasks"]]


async def test_what_is_known_about_a_number_is_shown_to_every_key(
    client: Client, make_key: MakeKey
) -> None:
    """Numbers are shared and tasks are not: what is shown of a number does not tell who submitted it."""
    ann, bob = await make_key("ann"), await make_key("bob")
    await client.post("/factor", json={"number": 91}, headers=bearer(ann))
    first = await (await client.get("/numbers/91", headers=bearer(bob))).text()

    assert "ann" not in first


async def test_the_document_says_which_calls_need_a_key(client: Client) -> None:
    """The document marks exactly the calls that need a key, and both documents name the scheme."""
    document = await (await client.get("/openapi.json")).json()
    asyncapi = await (await client.get("/asyncapi.json")).json()
    for path, calls in document["paths"].items():
        for method, call in calls.items():
            pair = (method.upper(), path)
            closed = {(each, filled(other)) for each, other in CLOSED}
            assert bool(call["security"]) == ((pair[0], filled(path)) in closed), pair
            assert bool(call["security"]) == ("401" in call["responses"]), pair
    scheme = {"type": "http", "scheme": "bearer"}
    for each in (document, asyncapi):
        assert scheme.items() <= each["components"]["securitySchemes"]["apiKey"].items()


def test_the_gateway_opens_no_connections() -> None:
    """No module of the gateway opens connections, so no caller can choose an address for one."""
    clients = re.compile(r"ClientSession|urllib\.request|http\.client|open_connection|urlopen")
    modules = (Path(__file__).parents[2] / "gateway").rglob("*.py")
    assert [] == [module.name for module in modules if clients.search(module.read_text())]


async def test_a_public_address_without_keys_is_not_served(
    store: SqliteStore, broker: MemoryBroker
) -> None:
    """The message says what to do. It is served with keys or if the operator insists; loopback always is."""
    for host in ("0.0.0.0", "::", "192.0.2.1", "some.host", ""):  # noqa: S104 refused
        with pytest.raises(errors.SettingError, match=r"keys make.*--insecure"):
            create_app(Settings(host=host), store=store, broker=broker)
        for allowed in (Settings(host=host, keys=True), Settings(host=host, insecure=True)):
            create_app(allowed, store=store, broker=broker)
    for host in ("127.0.0.1", "::1", "localhost", "127.8.9.1"):
        create_app(Settings(host=host), store=store, broker=broker)


async def test_no_secret_is_stored_logged_or_answered(
    client: Client,
    make_key: MakeKey,
    store: SqliteStore,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No log line, answer or document of the store has a key in it, whether it is accepted or refused."""
    caplog.set_level("DEBUG")
    ann, wrong = await make_key("ann"), api_keys.new_key("x", now=1.0)
    said = [
        await (await client.get(path, headers=bearer(made))).text()
        for made in (ann, wrong)
        for path in ("/tasks", "/status", "/numbers/x")
    ]
    stored = repr(await store.list_keys())

    logged = caplog.text + "".join(capsys.readouterr())

    assert 256 <= 6 * len(ann.secret.removeprefix("fl_"))
    for made in (ann, wrong):
        assert made.secret not in logged + "".join(said) + stored


async def test_a_key_that_cannot_be_read_is_refused_and_hides_no_other(
    client: Client, make_key: MakeKey, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer version has written it: its sockets are closed, and those of a key that is revoked now."""
    bad, revoked, good = [await make_key(name) for name in ("bad", "revoked", "good")]
    sockets = [await client.ws_connect("/ws", headers=bearer(key)) for key in (bad, revoked, good)]
    method = store.find_keys

    async def find_keys(digests: Sequence[str]) -> list[ApiKey]:
        if bad.key.digest in digests:
            raise errors.UnknownVersion(what="ApiKey", got=99, known=1)
        return await method(digests)

    monkeypatch.setattr(store, "find_keys", find_keys)
    await store.revoke_key(revoked.key.key_id, 2.0)
    async with asyncio.timeout(20):
        for socket in sockets[:2]:
            async for _ in socket:
                pass

    assert [CloseCode.KEY_REVOKED] * 2 == [socket.close_code for socket in sockets[:2]]
    assert 401 == (await client.get("/tasks", headers=bearer(bad))).status
    assert 200 == (await client.get("/tasks", headers=bearer(good))).status
    assert not sockets[2].closed
