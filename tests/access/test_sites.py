"""Names that the service answers to, pages of other sites, and the headers that browsers are given."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

from common import errors
from common.broker.memory import MemoryBroker
from common.runtime.settings import Settings
from common.store.sqlite import SqliteStore
from gateway.app import create_app
from tests.access.conftest import Client, MakeKey, bearer

LISTED = "https://a.example"
HARD = {"number": str((10**45 + 9) * (10**46 + 69))}


@pytest.fixture
async def keyless(store: SqliteStore, broker: MemoryBroker) -> AsyncIterator[Client]:
    """Yield a client of a service without keys, as on a laptop, that has one more name."""
    app = create_app(Settings(hosts="Factor.lan, other.lan"), store=store, broker=broker)
    async with TestClient(TestServer(app)) as client:
        yield client


async def tasks(client: Client) -> int:
    """Return how many tasks there are."""
    return len((await (await client.get("/tasks")).json())["tasks"])


async def raw(client: Client, request: str) -> bytes:
    """Return the answer to bytes that no HTTP library would send."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(request.replace("\n", "\r\n").encode() + b"\r\n\r\n")
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize(
    "host",
    [
        "rebind.evil.example",
        "rebind.evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
        "user:localhost@evil.example:8080",
        "localhost:80@evil.example",
        "evil.example#localhost",
        "evil.example/localhost",
        "0.0.0.0:8080",
        "192.168.1.5",
        "[::2]:8080",
        "2130706433",
        "localhost.",
        "local host",
        "lan",
        "factor.lan.evil.example",
        "",
    ],
)
async def test_without_keys_only_loopback_names_are_answered(keyless: Client, host: str) -> None:
    """A page whose name an attacker has pointed at this machine can neither read, write nor cancel."""
    made = await (await keyless.post("/factor", json=HARD)).json()
    for method, path in (
        ("GET", "/tasks"),
        ("GET", "/"),
        ("POST", "/factor"),
        ("DELETE", f"/tasks/{made['task_id']}"),
        ("GET", "/no-such-page"),
    ):
        answer = await keyless.request(method, path, headers={"Host": host}, json=HARD)
        assert 421 == answer.status, path
        problem = await answer.json()
        assert "/problems/host-refused" == problem["type"]
        assert "FACTORLINE_HOSTS" in problem["detail"]
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await keyless.ws_connect("/ws", headers={"Host": host}, origin=f"http://{host}")
    assert 421 == caught.value.status
    assert not (await (await keyless.get(f"/tasks/{made['task_id']}")).json())["done"]
    assert 1 == await tasks(keyless)


@pytest.mark.parametrize(
    "host",
    ["localhost", "LocalHost:1", "127.0.0.1:65535", "127.3.2.1", "[::1]", "[::1]:80", "factor.LAN"],
)
async def test_loopback_and_listed_names_are_answered(keyless: Client, host: str) -> None:
    """Whatever the port, for it may be forwarded."""
    assert 200 == (await keyless.get("/tasks", headers={"Host": host})).status
    async with keyless.ws_connect("/ws", headers={"Host": host}, origin=f"http://{host}") as socket:
        assert "hello" == (await socket.receive_json())["type"]


async def test_the_target_of_a_request_counts_as_its_host_too(keyless: Client) -> None:
    """RFC 9112 puts the name in an absolute target before Host; here both must be right."""
    close = "Connection: close"
    assert b" 421 " in await raw(
        keyless, f"GET http://evil/tasks HTTP/1.1\nHost: localhost\n{close}"
    )
    assert b" 421 " in await raw(
        keyless, f"GET http://localhost/tasks HTTP/1.1\nHost: evil\n{close}"
    )
    assert b" 421 " in await raw(
        keyless, f"GET http://localhost@evil/tasks HTTP/1.1\nHost: localhost\n{close}"
    )
    assert b" 400 " in await raw(
        keyless, f"GET /tasks HTTP/1.1\nHost: localhost\nHost: evil\n{close}"
    )
    assert b" 200 " in await raw(keyless, "GET /tasks HTTP/1.0")


async def test_balancers_may_ask_for_health_under_any_name(keyless: Client) -> None:
    """They use names of their own, and the answers say nothing of anybody."""
    for path in ("/healthz", "/readyz"):
        assert 200 == (await keyless.get(path, headers={"Host": "gateway"})).status


async def test_a_service_for_everybody_answers_to_addresses_too(
    store: SqliteStore, broker: MemoryBroker
) -> None:
    """No attacker's page can have an address of this machine as its own name."""
    settings = Settings(host="0.0.0.0", insecure=True)  # noqa: S104 not bound
    async with TestClient(TestServer(create_app(settings, store=store, broker=broker))) as client:
        for host, status in (("192.168.1.5:8080", 200), ("[fd00::1]", 200), ("box.lan", 421)):
            assert status == (await client.get("/tasks", headers={"Host": host})).status


async def test_with_keys_every_name_is_answered(client: Client, make_key: MakeKey) -> None:
    """A page under an attacker's name has no key of its visitor."""
    ann = await make_key("ann")
    headers = {"Host": "factor.example", **bearer(ann)}
    assert 200 == (await client.get("/tasks", headers=headers)).status


FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://["},
    {"Origin": "http://127.0.0.1"},
    {"Origin": "http://localhost@evil.example"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
    {"Sec-Fetch-Site": "SAME-ORIGIN"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:1"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
]


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize("content_type", ["text/plain", "application/json", "multipart/form-data"])
async def test_a_page_of_another_site_can_start_and_cancel_nothing(
    keyless: Client, headers: dict[str, str], content_type: str
) -> None:
    """Whatever it calls its body, and whether the browser sends Origin or Sec-Fetch-Site."""
    made = await (await keyless.post("/factor", json=HARD)).json()
    headers = {**headers, "Content-Type": content_type}
    for method, path, body in (
        ("POST", "/factor", b'{"number": 35}'),
        ("POST", "/tasks/batch", b'{"numbers": [35]}'),
        ("DELETE", f"/tasks/{made['task_id']}", b""),
        ("PUT", "/factor", b""),
        ("OPTIONS", "/factor", b""),
    ):
        answer = await keyless.request(method, path, headers=headers, data=body)
        assert 403 == answer.status, (method, path)
        problem = await answer.json()
        assert "/problems/origin-refused" == problem["type"]
        assert "FACTORLINE_ORIGINS" in problem["detail"]
        assert "Access-Control-Allow-Origin" not in answer.headers
    assert 1 == await tasks(keyless)
    assert not (await (await keyless.get(f"/tasks/{made['task_id']}")).json())["done"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
        {"Origin": "https://evil.example"},
    ],
)
async def test_a_page_of_another_site_can_measure_and_frame_nothing(
    keyless: Client, headers: dict[str, str]
) -> None:
    """It could not read the answer, but it could take its time, or hold connections with ?wait=."""
    for path in ("/numbers/91", "/", "/healthz"):
        assert 403 == (await keyless.get(path, headers=headers)).status
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await keyless.ws_connect("/ws", headers=headers)
    assert 403 == caught.value.status


async def test_a_link_from_another_site_leads_to_the_page(keyless: Client) -> None:
    """And whoever is no browser, or the page itself, is let in."""
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    for headers in (
        {**link, "Sec-Fetch-Dest": "document"},
        {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://behind.a.proxy"},
        {"Origin": f"http://127.0.0.1:{keyless.port}"},
        {},
    ):
        assert 200 == (await keyless.get("/", headers=headers)).status
    own = {"Origin": f"http://127.0.0.1:{keyless.port}", "Sec-Fetch-Site": "same-origin"}
    assert (await keyless.post("/factor", json={"number": 35}, headers=own)).ok


PREFLIGHT = {"Access-Control-Request-Method": "POST", "Sec-Fetch-Site": "cross-site"}


async def test_a_listed_site_is_told_what_its_pages_may_do(
    client: Client, make_key: MakeKey
) -> None:
    """Preflight needs no key; the call does, and its answer says which headers the page may read."""
    preflight = await client.options("/factor", headers={"Origin": LISTED, **PREFLIGHT})
    assert 204 == preflight.status
    assert LISTED == preflight.headers["Access-Control-Allow-Origin"]
    assert {"GET", "POST", "DELETE"} <= set(
        preflight.headers["Access-Control-Allow-Methods"].split(", ")
    )
    assert {"Authorization", "Content-Type", "Idempotency-Key", "Prefer", "If-None-Match"} == set(
        preflight.headers["Access-Control-Allow-Headers"].split(", ")
    )
    assert "600" == preflight.headers["Access-Control-Max-Age"]

    headers = {"Origin": LISTED, "Sec-Fetch-Site": "cross-site"}
    without = await client.post("/factor", json={"number": 91}, headers=headers)
    assert (401, LISTED) == (without.status, without.headers["Access-Control-Allow-Origin"])
    made = await client.post(
        "/factor", json={"number": 91}, headers={**headers, **bearer(await make_key("ann"))}
    )
    assert made.ok
    assert {"Location", "Retry-After", "ETag", "RateLimit", "RateLimit-Policy"} <= set(
        made.headers["Access-Control-Expose-Headers"].split(", ")
    )
    assert "Access-Control-Allow-Credentials" not in made.headers
    assert "Origin" in made.headers["Vary"]


async def test_other_sites_are_told_nothing(client: Client, keyless: Client) -> None:
    """CORS is off unless it is set, and on for the listed sites alone; caches keep them apart."""
    for asked, origin in ((client, "https://b.example"), (keyless, LISTED)):
        refused = await asked.options("/factor", headers={"Origin": origin, **PREFLIGHT})
        assert 403 == refused.status
        assert not [name for name in refused.headers if name.startswith("Access-Control")]
    page = await client.get("/", headers={"Accept": "text/html"})
    assert ["Accept", "Origin"] == page.headers["Vary"].split(", ")
    assert "Access-Control-Allow-Origin" not in page.headers
    assert 405 == (await client.options("/factor")).status


async def test_every_answer_has_the_headers_that_protect_its_reader(client: Client) -> None:
    """Also errors, and the handshake of a socket."""
    answers = [
        await client.get(path, headers={"Accept": "text/html"})
        for path in ("/", "/docs", "/healthz", "/tasks", "/nothing", "/openapi.json")
    ]
    async with client.ws_connect("/ws") as socket:
        shown = [dict(answer.headers) for answer in answers]
        shown.append(dict(socket._response.headers))  # noqa: SLF001 nobody else shows them
    for headers in shown:
        assert "nosniff" == headers["X-Content-Type-Options"]
        assert "no-referrer" == headers["Referrer-Policy"]
        assert "same-origin" == headers["Cross-Origin-Opener-Policy"]
        assert "same-origin" == headers["Cross-Origin-Resource-Policy"]
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "Strict-Transport-Security" not in headers  # that is for whoever ends TLS


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FACTORLINE_ORIGINS", "*"),
        ("FACTORLINE_ORIGINS", "null"),
        ("FACTORLINE_ORIGINS", "a.example"),
        ("FACTORLINE_ORIGINS", "https://a.example,https://b.example/path"),
        ("FACTORLINE_ORIGINS", "https://user@a.example"),
        ("FACTORLINE_HOSTS", "*"),
        ("FACTORLINE_HOSTS", "http://factor.lan"),
        ("FACTORLINE_HOSTS", "ok.lan, factor.lan:8080"),
    ],
)
def test_a_list_that_could_never_match_is_refused(name: str, value: str) -> None:
    """The error shows what an entry looks like."""
    with pytest.raises(errors.SettingError, match=rf"{name}.*such as") as caught:
        Settings.from_environ({name: value})
    assert value in str(caught.value)
