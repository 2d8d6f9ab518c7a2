"""A real HAProxy with our configuration, in front of real gateways."""

import asyncio
import contextlib
import gzip
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import encode_basic_auth, web
from aiohttp.test_utils import TestServer

from common.broker.memory import MemoryBroker
from common.domain import ApiKey, new_key
from common.runtime.settings import Settings
from common.store.sqlite import SqliteStore
from gateway.app import create_app
from gateway.context import HUB, READINESS
from infra.local.haproxy import CONFIGURATION, HAProxy
from infra.local.processes import NotInstalled, free_ports
from tests import waiting
from tests.access.test_tls import openssl

RATE = 40
CONNECTIONS = 100
FORGOTTEN_SECONDS = 21.0
"""HAProxy counts over ten seconds and a part of the ten before."""


class Front:
    """Two gateways and the balancer in front of them."""

    def __init__(self, proxy: HAProxy, gateways: list[web.Application]) -> None:
        self.proxy = proxy
        self.gateways = gateways
        self.addresses: list[str] = []
        """The addresses of clients, as the gateways are told them."""
        self.sessions = aiohttp.ClientSession(proxy.url)
        self.clients = aiohttp.ClientSession(
            proxy.url, connector=aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
        )
        """From an address from which nothing else comes, as readiness checks do from the other."""

    async def statuses(self, count: int, path: str = "/healthz", **headers: str) -> list[int]:
        """Return the statuses with which so many concurrent requests are answered."""

        async def one() -> int:
            async with self.clients.get(path, headers=headers) as response:
                assert "Factorline-Key" not in response.headers
                return response.status

        return await asyncio.gather(*(one() for _ in range(count)))

    async def until_seen(self, words: str) -> None:
        """Return when the statistics show a gateway in this state."""

        async def seen() -> bool:
            login = {"Authorization": encode_basic_auth(self.proxy.user, self.proxy.password)}
            address = f"{self.proxy.statistics_url};csv"
            async with self.sessions.get(address, headers=login) as response:
                return words in await response.text()

        await waiting.until(seen, f"{words} in the statistics")


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    """Yield gateways without keys behind a balancer with a small limit."""
    async with balanced(tmp_path) as front:
        yield front


@contextlib.asynccontextmanager
async def balanced(
    tmp_path: Path, *keys: ApiKey, configuration: Path = CONFIGURATION
) -> AsyncIterator[Front]:
    """Yield gateways behind a balancer with a small limit; if there are keys, they need one."""
    async with contextlib.AsyncExitStack() as stack:
        broker = MemoryBroker()
        await broker.open()
        stack.push_async_callback(broker.close)
        apps, addresses, heard = [], [], list[str]()

        async def note(request: web.Request, _response: web.StreamResponse) -> None:
            if request.path == "/":
                heard.extend(request.headers.getall("X-Forwarded-For"))

        for name in ("a", "b"):
            store = SqliteStore(tmp_path / f"{name}.sqlite3")
            await store.open()
            stack.push_async_callback(store.close)
            for key in keys:
                await store.insert_key(key)
            settings = Settings(keys=bool(keys))
            apps.append(create_app(settings, store=store, broker=broker))
            apps[-1].on_response_prepare.append(note)
            server = await stack.enter_async_context(TestServer(apps[-1]))
            addresses.append(f"127.0.0.1:{server.port}")
        try:
            proxy = HAProxy(
                tmp_path,
                addresses,
                rate=RATE,
                connections=CONNECTIONS,
                configuration=configuration,
            )
        except NotInstalled as error:
            pytest.skip(f"haproxy: {error}")
        front = Front(await stack.enter_async_context(proxy), apps)
        front.addresses = heard
        await stack.enter_async_context(front.sessions)
        await stack.enter_async_context(front.clients)
        yield front


async def test_too_many_requests_of_one_key_or_address(front: Front) -> None:
    """Each key has its own allowance, and an address that keeps changing its key is stopped too."""
    first = await front.statuses(2 * RATE, Authorization="Bearer one")
    if 503 in first:  # a stall of this process, where the gateways are, had HAProxy's checks fail
        await asyncio.sleep(FORGOTTEN_SECONDS)
        first = await front.statuses(2 * RATE, Authorization="Bearer one")
    assert {200, 429} == set(first)
    assert RATE == first.count(200)
    async with front.clients.get("/healthz", headers={"Authorization": "Bearer one"}) as refused:
        assert (429, "10") == (refused.status, refused.headers["Retry-After"])
        assert "application/problem+json" == refused.content_type
        assert 429 == (await refused.json())["status"]
    keys = [f"Bearer {number}" for number in range(10)]
    invented = [await front.statuses(1, Authorization=key) for key in keys]
    assert [[429]] * 10 == invented


async def test_only_a_valid_key_has_an_allowance_of_its_own(tmp_path: Path) -> None:
    """Whoever makes keys up uses up the allowance of its address, and does not get in the way of a key."""
    made = new_key("ann", now=1.0)
    async with balanced(tmp_path, made.key) as front:
        valid = {"Authorization": f"Bearer {made.secret}"}
        assert [200] == await front.statuses(1, "/tasks", **valid)
        for number in range(RATE - 1):
            key = f"Bearer fl_{number:043}"
            assert [401] == await front.statuses(1, "/tasks", Authorization=key)
        assert [429] == await front.statuses(1, "/tasks", Authorization=f"Bearer fl_{RATE:043}")
        assert [429] == await front.statuses(1)
        assert [200] * 10 == await front.statuses(10, "/tasks", **valid)


async def test_a_key_has_one_allowance_however_it_is_written(tmp_path: Path) -> None:
    """The scheme may be in small letters, with any number of spaces after it."""
    made = new_key("ann", now=1.0)
    async with balanced(tmp_path, made.key) as front:
        written = [f"bearer {' ' * number}{made.secret}" for number in range(1 + RATE // 2)]
        seen = [
            await front.statuses(1, "/tasks", Authorization=header)
            for header in written
            for _ in range(2)
        ]
        assert [[200]] * RATE + [[429]] * 2 == seen


async def test_the_first_half_of_an_ipv6_address_counts(tmp_path: Path) -> None:
    """A machine can change the other half as it likes."""
    [port] = free_ports(1)
    with_more_ports = tmp_path / "haproxy.cfg"
    bind = '    bind "${FACTORLINE_PROXY}"\n'
    text = CONFIGURATION.read_text().replace(
        bind, f"{bind}    bind 127.0.0.1:{port} accept-proxy\n"
    )
    with_more_ports.write_text(text)

    async def status(address: str) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"PROXY TCP6 {address} ::1 1 80\r\nGET /healthz HTTP/1.0\r\n\r\n".encode())
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        return answer.split()[1]

    async with balanced(tmp_path, configuration=with_more_ports):
        ours = [await status(f"2001:db8:0:1:{number:x}::{number:x}") for number in range(RATE)]
        assert {b"200"} == set(ours)
        assert b"429" == await status("2001:db8:0:1:ffff:ffff:ffff:ffff")
        assert b"200" == await status("2001:db8:0:2::1")


async def test_statistics_and_metrics_ask_for_the_password(front: Front) -> None:
    """Nobody else needs to know of machines and addresses."""
    for path in ("", ";csv", "metrics"):
        address = f"{front.proxy.statistics_url}{path}"
        for login, status in ((None, 401), ("", 401), ("wrong", 401), (front.proxy.password, 200)):
            headers = {}
            if login is not None:
                headers["Authorization"] = encode_basic_auth(front.proxy.user, login)
            async with front.sessions.get(address, headers=headers) as response:
                assert status == response.status


@pytest.mark.parametrize("given", [{}, {"FACTORLINE_PROXY_PASSWORD": ""}])
def test_without_a_password_it_does_not_start(tmp_path: Path, given: dict[str, str]) -> None:
    """It says which setting is missing, and how to make a password."""
    try:
        proxy = HAProxy(tmp_path, ["127.0.0.1:1"])
    except NotInstalled as error:
        pytest.skip(f"haproxy: {error}")
    env = {k: v for k, v in proxy.env.items() if k != "FACTORLINE_PROXY_PASSWORD"} | given
    check = [*proxy.command, "-c"]
    ran = subprocess.run(check, env=env, capture_output=True, text=True, check=False)  # noqa: S603 ours

    assert 1 == ran.returncode
    assert "FACTORLINE_PROXY_PASSWORD is" in ran.stderr
    assert "openssl rand" in ran.stderr


async def test_browsers_are_told_to_stay_with_tls(tmp_path: Path) -> None:
    """Only where HAProxy itself ends TLS; also by answers that are its own."""
    [port] = free_ports(1)
    pem, with_tls = tmp_path / "site.pem", tmp_path / "haproxy.cfg"
    bind = '    bind "${FACTORLINE_PROXY}"\n'
    text = CONFIGURATION.read_text().replace(
        bind, f"{bind}    bind 127.0.0.1:{port} ssl crt {pem}\n"
    )
    with_tls.write_text(text)
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1")
    openssl(
        "req", "-x509", *curve, "-subj", "/CN=localhost", "-keyout", pem, "-out", tmp_path / "c"
    )
    with pem.open("a") as file:
        file.write((tmp_path / "c").read_text())
    async with balanced(tmp_path, configuration=with_tls) as front:
        for headers, status in (({}, 200), ({"Content-Encoding": "gzip"}, 415)):
            for url, told in (
                (front.proxy.url, None),
                (f"https://127.0.0.1:{port}", "max-age=31536000"),
            ):
                asked = front.sessions.get(f"{url}/healthz", headers=headers, ssl=False)
                async with asked as response:
                    assert status == response.status
                    assert told == response.headers.get("Strict-Transport-Security")


async def test_a_draining_gateway_keeps_its_sockets(front: Front) -> None:
    """It gets no new ones; the others go to the gateway with the fewest connections."""
    async with contextlib.AsyncExitStack() as stack:
        sockets = [
            await stack.enter_async_context(front.sessions.ws_connect("/ws")) for _ in range(4)
        ]
        for socket in sockets:
            assert "hello" == (await socket.receive_json())["type"]
        draining, other = front.gateways
        draining[READINESS].draining = True
        await front.until_seen(",NOLB,")
        for socket in sockets:
            await socket.send_json({"type": "ping", "id": 7})
            assert {"type": "pong", "id": 7} == await socket.receive_json()
        for _ in range(2):
            socket = await stack.enter_async_context(front.sessions.ws_connect("/ws"))
            assert "hello" == (await socket.receive_json())["type"]
        assert (2, 4) == (len(draining[HUB].sockets), len(other[HUB].sockets))


async def test_half_a_header_does_not_hold_a_connection(front: Front) -> None:
    """The connection is closed after ten seconds, and no gateway hears of it."""
    port = int(front.proxy.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: half")
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()

    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_half_a_body_does_not_hold_a_gateway(front: Front) -> None:
    """It waits in HAProxy until it is there, and not for long."""
    port = int(front.proxy.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST / HTTP/1.1\r\nHost: half\r\nContent-Length: 10\r\n\r\n{")
    async with asyncio.timeout(20):
        answer = await reader.readline()  # HAProxy 3.2 leaves it to the client to hang up
    writer.close()

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert [] == front.addresses


async def test_a_compressed_body_reaches_no_gateway(front: Front) -> None:
    """The problem is that of a gateway."""
    bomb = gzip.compress(bytes(10 << 20))
    headers = {"Content-Encoding": "gzip"}
    async with front.sessions.post("/", data=bomb, headers=headers) as refused:
        problem = await refused.json()

    assert (415, "/problems/encoded-body") == (refused.status, problem["type"])
    assert "identity" == refused.headers["Accept-Encoding"]
    assert [] == front.addresses


async def test_connections_of_an_address_are_counted(front: Front) -> None:
    """Those beyond the limit are not let in; others are served, and room that is left is given again."""
    port = int(front.proxy.url.rpartition(":")[2])
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS)]
    with contextlib.suppress(ConnectionError):
        one_more, writer = await asyncio.open_connection("127.0.0.1", port)
        idle.append((one_more, writer))
        async with asyncio.timeout(5):  # one that is let in and sends nothing is closed after ten
            assert b"" == await one_more.read()
    other = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
    async with aiohttp.ClientSession(front.proxy.url, connector=other) as session:
        assert (await session.get("/healthz")).ok
    for _, opened in idle:
        opened.close()

    async def again() -> bool:
        with contextlib.suppress(aiohttp.ClientError):
            async with front.sessions.get("/healthz"):
                return True
        return False

    await waiting.until(again, "HAProxy to let this address in again")


@pytest.mark.parametrize(
    ("request_line", "host"),
    [
        ("GET /tasks HTTP/1.1", "rebind.example:80"),
        ("GET http://rebind.example/tasks HTTP/1.1", "localhost"),
        ("GET http://localhost/tasks HTTP/1.1", "rebind.example"),
        ("GET http://localhost@rebind.example/tasks HTTP/1.1", "localhost"),
    ],
)
async def test_a_foreign_name_is_refused_behind_it_too(
    front: Front, request_line: str, host: str
) -> None:
    """HAProxy passes the name on, or refuses two that differ."""
    port = int(front.proxy.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{request_line}\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()

    assert answer.split()[1] in {b"421", b"400"}


async def test_a_client_cannot_choose_its_address(front: Front) -> None:
    """Whatever a client claims about its origin is replaced."""
    async with front.sessions.get("/", headers={"X-Forwarded-For": "6.6.6.6"}) as response:
        assert response.ok

    assert ["127.0.0.1"] == front.addresses
