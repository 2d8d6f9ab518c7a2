"""Connections that are held for nothing, bodies that are bombs, and bytes that are no HTTP.

The clients here are plain sockets: a library would not do what they do.
"""

import asyncio
import contextlib
import gzip
import json
import logging
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from common.broker.memory import MemoryBroker
from common.program import run
from common.runtime.settings import Settings
from common.store.sqlite import SqliteStore
from gateway import metrics
from gateway.app import create_app
from gateway.http import bodies, connections, deadline
from tests import waiting

Connect = Callable[..., Awaitable["Client"]]
Limit = Callable[[int], Awaitable[Connect]]
LIMIT = 40
"""Connections that the gateways here can have."""


class Client:
    """One connection to the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        """Send some bytes."""
        self.writer.write(data)

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        """Return the status, the header and the JSON body of the next answer."""
        async with asyncio.timeout(30):
            line, *fields = (await self.reader.readuntil(b"\r\n\r\n")).decode().splitlines()
            header = dict(field.split(": ", 1) for field in fields if field)
            body = await self.reader.readexactly(int(header["Content-Length"]))
        return int(line.split()[1]), header, json.loads(body)

    async def closed(self) -> bytes:
        """Return what came until the gateway closed the connection; fail if it does not."""
        async with asyncio.timeout(30):
            with contextlib.suppress(ConnectionError):
                return await self.reader.read()
        return b""


@pytest.fixture
async def serve(store: SqliteStore, broker: MemoryBroker) -> AsyncIterator[Callable[..., Any]]:
    """Yield what serves a gateway as the programs do, and returns what connects to it."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(limit: int = LIMIT, *, keys: bool = False) -> Connect:
            app = create_app(Settings(keys=keys), store=store, broker=broker)
            runner = connections.Runner(app, limit=limit, shutdown_timeout=1.0)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            port = runner.addresses[0][1]

            async def connect(sent: bytes = b"", *, address: str = "127.0.0.1") -> Client:
                client = Client(
                    *await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
                )
                stack.callback(client.writer.close)
                client.send(sent)
                return client

            return connect

        yield start


@pytest.fixture
async def connect(serve: Callable[..., Awaitable[Connect]]) -> Connect:
    """Return what connects to a gateway without keys."""
    return await serve()


def request(method: str, path: str, *fields: str, body: bytes = b"") -> bytes:
    """Return a request as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *fields]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


HEALTH = request("GET", "/healthz")


async def healthy(connect: Connect, **how: Any) -> bool:
    """Return whether a newcomer is served."""
    client = await connect(HEALTH, **how)
    return (await client.answer())[0] == 200


def closed(why: str) -> float:
    """Return how many connections were closed for a reason."""
    value: float = metrics.CONNECTIONS_CLOSED.labels(why)._value.get()  # noqa: SLF001 the library has no other way
    return value


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "identity", "rot13"])
async def test_an_encoded_body_is_refused(connect: Connect, encoding: str) -> None:
    """It says what to do; the connection stays, because the body was small and is here."""
    body = gzip.compress(b'{"number": 15}')
    client = await connect(request("POST", "/factor", f"Content-Encoding: {encoding}", body=body))
    status, header, problem = await client.answer()

    assert (415, "/problems/encoded-body") == (status, problem["type"])
    assert "identity" == header["Accept-Encoding"]
    assert f"`Content-Encoding: {encoding}`" in problem["detail"]
    client.send(HEALTH)
    assert 200 == (await client.answer())[0]


@pytest.mark.parametrize("keys", [False, True])
async def test_a_bomb_is_not_inflated(
    serve: Callable[..., Awaitable[Connect]], monkeypatch: pytest.MonkeyPatch, *, keys: bool
) -> None:
    """No byte of it goes through a decompressor, whether its sender has a key or not."""

    def inflated(*_: object, **__: object) -> None:
        raise AssertionError("a body was inflated")

    monkeypatch.setattr("aiohttp.http_parser.DeflateBuffer", inflated)
    connect = await serve(keys=keys)
    bomb = gzip.compress(bytes(50 << 20))
    size = f"Content-Length: {len(bomb)}"
    client = await connect(request("POST", "/factor", "Content-Encoding: gzip", size))
    assert (401 if keys else 415) == (await client.answer())[0]
    client.send(bomb)

    await client.closed()
    assert await healthy(connect)


@pytest.mark.parametrize(
    ("sent", "keys", "status"),
    [
        (request("POST", "/factor", "Content-Length: 900000"), True, 401),
        (request("POST", "/factor", "Content-Length: 2000000"), False, 413),
        (request("POST", "/factor", "Content-Length: 9", "Content-Encoding: br"), False, 415),
        (request("POST", "/nowhere", "Content-Length: 900000"), False, 404),
        (request("DELETE", "/factor", "Content-Length: 900000"), False, 405),
    ],
)
async def test_a_body_that_nobody_reads_ends_the_connection(
    serve: Callable[..., Awaitable[Connect]], sent: bytes, status: int, *, keys: bool
) -> None:
    """The answer says so, and the rest of the body is not waited for."""
    connect = await serve(keys=keys)
    client = await connect(sent)
    answered, header, _ = await client.answer()

    assert (status, "close") == (answered, header["Connection"])
    assert b"" == await client.closed()


async def test_half_a_header_is_not_waited_for(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte now and then does not prolong the time."""
    monkeypatch.setattr(connections, "HEADER_SECONDS", 2.0)
    client = await connect(b"GET /healthz HTTP/1.1\r\nHo")

    async def drip() -> None:
        while True:
            await asyncio.sleep(0.1)
            client.send(b"o")

    dripping = asyncio.create_task(drip())
    status, header, problem = await client.answer()
    dripping.cancel()

    assert (408, "/problems/too-slow") == (status, problem["type"])
    assert "close" == header["Connection"]
    assert "The header of the request did not arrive within 2 seconds" in problem["detail"]


async def test_a_connection_that_sends_nothing_is_closed(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told nothing: browsers open connections in advance, and would show the answer."""
    monkeypatch.setattr(connections, "HEADER_SECONDS", 1.0)

    assert b"" == await (await connect()).closed()


async def test_half_a_body_is_not_waited_for(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is for the whole of it."""
    monkeypatch.setattr(connections, "BODY_SECONDS", 1.0)
    client = await connect(request("POST", "/factor", "Content-Length: 100") + b"{")
    status, header, problem = await client.answer()

    assert (408, "/problems/too-slow") == (status, problem["type"])
    assert "close" == header["Connection"]
    assert "The body of the request did not arrive within 1 seconds" in problem["detail"]


async def test_a_kept_connection_is_closed_after_a_while(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then the next request is answered."""
    monkeypatch.setattr(connections, "IDLE_SECONDS", 1.5)
    client = await connect(HEALTH)
    assert 200 == (await client.answer())[0]
    client.send(HEALTH)
    assert 200 == (await client.answer())[0]

    assert b"" == await client.closed()


async def test_a_client_that_does_not_read_is_cut_off(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answers would wait in memory for ever."""
    monkeypatch.setattr(connections, "IDLE_SECONDS", 1.0)
    before = closed("idle")
    client = await connect()
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    client.send(200 * request("GET", "/openapi.json"))

    await waiting.until(lambda: closed("idle") > before, "the gateway to give up", seconds=30)


async def test_idle_connections_of_one_address_lock_nobody_out(
    serve: Callable[..., Awaitable[Connect]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that has waited longest makes room, so that even this address is served."""
    monkeypatch.setattr(connections, "UNFINISHED_PER_ADDRESS", 20)
    monkeypatch.setattr(connections, "GRACE_SECONDS", 0.0)
    connect = await serve(limit=10_000)
    before = closed("address")
    idle = [await connect() for _ in range(100)]

    assert await healthy(connect)
    assert await healthy(connect, address="127.0.0.2")
    assert b"" == await idle[0].closed()
    assert closed("address") - before >= 80


async def test_a_proxy_may_keep_many_connections(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have had requests answered, and do not count until the next one has begun."""
    monkeypatch.setattr(connections, "UNFINISHED_PER_ADDRESS", 5)
    kept = []
    for _ in range(20):
        kept.append(await connect(HEALTH))
        assert 200 == (await kept[-1].answer())[0]
    for client in kept:
        client.send(HEALTH)
        assert 200 == (await client.answer())[0]
    for client in kept:
        client.send(b"GET /hea")

    assert b"" == await kept[0].closed()
    assert await healthy(connect)


async def test_a_burst_of_connections_is_served(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are there before the first of their requests is read, and none is closed for the others."""
    monkeypatch.setattr(connections, "UNFINISHED_PER_ADDRESS", 5)
    clients = await asyncio.gather(*(connect(HEALTH) for _ in range(30)))

    assert [200] * 30 == [(await client.answer())[0] for client in clients]


async def test_slow_bodies_of_one_address_lock_nobody_out(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bodies that trickle in count like connections that send nothing."""
    monkeypatch.setattr(connections, "UNFINISHED_PER_ADDRESS", 5)
    slow = [
        await connect(request("POST", "/factor", "Content-Length: 100") + b"{") for _ in range(10)
    ]

    assert b"" == await slow[0].closed()
    assert await healthy(connect)


async def test_idle_connections_of_many_addresses_lock_nobody_out(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are more of them than the gateway can have; the log says so, but not each time."""
    monkeypatch.setattr(connections, "LOG_SECONDS", 0.0)
    said: list[dict[str, object]] = []
    monkeypatch.setattr(connections.log, "warning", lambda _event, **fields: said.append(fields))
    before = closed("room")
    idle = [await connect(address=f"127.0.0.{2 + index % 50}") for index in range(2 * LIMIT)]

    assert await healthy(connect, address="127.0.0.99")
    assert closed("room") - before >= LIMIT
    assert b"" == await idle[0].closed()
    await waiting.until(lambda: bool(said), "a line in the log", seconds=10)
    assert LIMIT == said[0]["limit"]


async def test_a_gateway_whose_connections_are_all_served_says_so(
    serve: Callable[..., Awaitable[Connect]],
) -> None:
    """Nobody is cut off for a newcomer, who hears when to come back."""
    connect = await serve(limit=3)
    before = closed("full")
    sockets = [
        await connect(
            request(
                "GET",
                "/ws",
                "Upgrade: websocket",
                "Connection: Upgrade",
                "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            )
        )
        for _ in range(3)
    ]
    for socket in sockets:
        assert b"101" in await socket.reader.readuntil(b"\r\n\r\n")
    status, header, problem = await (await connect(HEALTH)).answer()

    assert (503, "/problems/too-many-connections") == (status, problem["type"])
    assert "5" == header["Retry-After"]
    assert 1 == closed("full") - before


@pytest.mark.parametrize(
    ("sent", "status", "kind", "says"),
    [
        (b"GET /" + b"1" * 9000 + b" HTTP/1.1\r\n\r\n", 431, "header-too-large", "8190 bytes"),
        (request("GET", "/", "X: " + "1" * 9000), 431, "header-too-large", "8190 bytes"),
        (request("GET", "/", *(f"X{n}: 1" for n in range(300))), 431, "header-too-large", "128"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "http-error", "TLS"),
        (b"nonsense\r\n\r\n", 400, "http-error", ""),
        (request("GET", "/", "no colon"), 400, "http-error", "HTTP/1.1"),
        (
            request("POST", "/factor", "Content-Length: 1", "Content-Length: 2"),
            400,
            "http-error",
            "",
        ),
        (request("POST", "/factor", "Expect: a miracle"), 400, "http-error", "100-continue"),
    ],
)
async def test_what_is_no_request_is_told_so(
    connect: Connect, sent: bytes, status: int, kind: str, says: str
) -> None:
    """In our words: the library's name its classes, and quote what was sent."""
    answered, header, problem = await (await connect(sent)).answer()

    assert (status, f"/problems/{kind}") == (answered, problem["type"])
    assert "application/problem+json" == header["Content-Type"]
    assert says in problem["detail"]


async def test_a_header_has_its_size_as_a_whole(connect: Connect) -> None:
    """Each field may be long, and there may be many, but not both: they wait in memory."""
    client = await connect(HEALTH)
    assert 200 == (await client.answer())[0]
    before = closed("flood")
    client.send(b"GET / HTTP/1.1\r\nHost: here\r\n")
    with contextlib.suppress(ConnectionError):
        for field in range(100):
            client.send(b"X%d: %s\r\n" % (field, b"1" * 8000))
            await client.writer.drain()
            await asyncio.sleep(0.01)

    await waiting.until(lambda: closed("flood") > before, "the gateway to have enough")
    assert await healthy(connect)


@pytest.mark.parametrize("flood", [b"\r\n" * 50_000, b"1;" + b"x" * 100_000])
async def test_bytes_that_say_nothing_are_not_taken_for_ever(
    connect: Connect, flood: bytes
) -> None:
    """Empty lines before a request, or whatever may stand beside the size of a chunk."""
    before = closed("flood")
    chunked = request("POST", "/factor", "Transfer-Encoding: chunked")
    client = await connect(chunked if flood.startswith(b"1") else b"")
    with contextlib.suppress(ConnectionError):
        for _ in range(100):
            client.send(flood)
            await client.writer.drain()
            await asyncio.sleep(0)

    await waiting.until(lambda: closed("flood") > before, "the gateway to have enough")
    assert await healthy(connect)


async def test_a_body_of_small_chunks_is_read(connect: Connect) -> None:
    """As long as they are not much more than the body itself; so is what comes after it."""
    text = b" " * 20_000 + b'{"number": 15}'
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in text) + b"0\r\n\r\n"
    client = await connect(request("POST", "/factor", "Transfer-Encoding: chunked") + chunks)
    assert 202 == (await client.answer())[0]
    body = b'{"number": 15, "more": "' + b"1" * 1_000_000 + b'"}'
    for _ in range(3):
        client.send(request("POST", "/factor", body=body))
        assert 202 == (await client.answer())[0]


async def test_a_chunk_that_is_none_is_told_so(connect: Connect) -> None:
    """The body begins well, so a handler waits for the rest of it."""
    client = await connect(request("POST", "/factor", "Transfer-Encoding: chunked"))
    client.send(b"zz\r\n{}\r\n0\r\n\r\n")
    status, _, problem = await client.answer()

    assert 400 == status
    assert "aiohttp" not in problem["detail"]


async def test_a_client_that_asks_first_is_not_asked_for_what_nobody_wants(
    serve: Callable[..., Awaitable[Connect]],
) -> None:
    """A body that is refused anyway stays where it is; one that is wanted is asked for."""
    wanted = request("POST", "/factor", "Expect: 100-continue", "Content-Length: 14")
    client = await (await serve())(wanted)
    assert b"HTTP/1.1 100 Continue\r\n\r\n" == await client.reader.readuntil(b"\r\n\r\n")
    client.send(b'{"number": 15}')
    assert 202 == (await client.answer())[0]
    refused = await (await serve(keys=True))(wanted)
    assert 401 == (await refused.answer())[0]


@pytest.mark.parametrize(
    "sent",
    [
        request("POST", "/factor", "Content-Length: 100") + b"{",
        request("POST", "/factor", "Prefer: wait=30", body=b'{"number": "2^331-1"}'),
    ],
    ids=["upload", "long poll"],
)
async def test_a_client_that_hangs_up_is_one_line_in_the_log(
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    sent: bytes,
) -> None:
    """It is no error, and what was done for the client ends at once."""
    said: list[str] = []
    monkeypatch.setattr("gateway.http.middlewares.log.info", said.append)
    reading = asyncio.Event()
    paused = deadline.Deadline.paused

    def noted(self: deadline.Deadline) -> Any:
        reading.set()
        return paused(self)

    monkeypatch.setattr(deadline.Deadline, "paused", noted)
    client = await connect(sent)
    await reading.wait()
    await asyncio.sleep(0.3)
    client.writer.transport.abort()

    with caplog.at_level(logging.INFO):
        await waiting.until(lambda: bool(said), "the gateway to notice", seconds=10)
    assert ["A client went away before it was answered"] == said
    assert not caplog.records


async def test_a_client_may_be_gone_before_its_body_is_asked_for(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The look-up of a key takes a while; it is the same line in the log."""
    said: list[str] = []
    monkeypatch.setattr("gateway.http.middlewares.log.info", said.append)

    async def gone(asked: web.Request) -> None:
        await waiting.until(lambda: asked.transport is None, "the client to be gone")

    monkeypatch.setattr(bodies, "_ask_for_body", gone)
    client = await connect(request("POST", "/factor", "Content-Length: 100") + b"{")
    await asyncio.sleep(0.2)
    client.writer.transport.abort()
    await waiting.until(lambda: bool(said), "the gateway to notice")

    assert ["A client went away before it was answered"] == said
    assert not caplog.records


async def test_a_program_takes_all_the_descriptors_that_it_may_have() -> None:
    """The soft limit is often 1024, which a thousand idle clients use up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1000), hard))
    try:
        run._raise_descriptor_limit()  # noqa: SLF001 its program would have to be started
        assert (hard, hard) == resource.getrlimit(resource.RLIMIT_NOFILE)
        assert connections.connection_limit(Settings()) >= min(
            hard - connections.SPARE_DESCRIPTORS, 10_000
        )
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        (("10.1.2.3", 5), "10.1.2.3"),
        (("2001:db8:1:2:3:4:5:6", 5, 0, 0), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 5, 0, 2), "fe80::/64"),
        (("::ffff:10.1.2.3", 5, 0, 0), "10.1.2.3"),
        ("", "local"),
    ],
)
def test_an_address_is_what_one_household_has(peer: object, address: str) -> None:
    """Anybody with IPv6 has 2^64 addresses."""
    assert address == connections._network(peer)  # noqa: SLF001 no machine here has such peers
