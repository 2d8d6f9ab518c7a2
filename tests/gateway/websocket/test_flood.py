"""Clients that send much and read little: neither memory nor the other clients may suffer."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence

import pytest
from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.test_utils import TestClient, TestServer

from common.broker.memory import MemoryBroker
from common.domain import BigInt, Task, factorizations
from common.lifecycle import new_task
from common.runtime.settings import Settings
from common.store.sqlite import SqliteStore
from gateway.app import create_app
from gateway.context import DOORKEEPER, HUB
from gateway.websocket import session
from gateway.websocket.close_codes import CloseCode
from gateway.websocket.protocol import WAITING_LIMIT, Protocol
from tests import metrics, waiting
from tests.gateway.websocket.raw import RawSocket, frame, opened

Client = TestClient[web.Request, web.Application]

HARD = BigInt((10**33 + 61) * (10**40 + 121))
PING = frame({"type": "ping"})
LONG_PING = frame({"type": "ping", "id": 64 * "x"})


@pytest.fixture
async def closed_client(store: SqliteStore, broker: MemoryBroker) -> AsyncIterator[Client]:
    """Yield a client of a gateway that asks for API keys."""
    app = create_app(Settings(keys=True), store=store, broker=broker)
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest.fixture
def protocols(monkeypatch: pytest.MonkeyPatch) -> list[Protocol]:
    """Return a list to which the protocol of each new socket is added."""
    seen: list[Protocol] = []

    class Remembered(Protocol):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            seen.append(self)

    monkeypatch.setattr(session, "Protocol", Remembered)
    return seen


@pytest.fixture
async def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read from clients as fast as they send, so that only what waits for them bounds it."""
    asyncio.get_running_loop().set_debug(False)  # it would take minutes
    monkeypatch.setattr(session, "FRAMES_AT_FIRST", 10**9)


@contextlib.asynccontextmanager
async def flooding(socket: RawSocket, data: bytes) -> AsyncIterator[None]:
    """Send all the time, and read nothing."""
    sending = asyncio.create_task(socket.push(data))
    yield
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)


def sockets_of(client: Client) -> int:
    """Return how many sockets a gateway has."""
    assert client.app is not None
    return len(client.app[HUB].sockets)


@pytest.mark.usefixtures("unhurried")
async def test_nothing_more_is_read_from_a_client_that_reads_nothing(
    client: Client, protocols: list[Protocol]
) -> None:
    """A million pings: a hundred answers wait in the gateway, and the rest of the pings in the client."""
    async with opened(client) as socket, flooding(socket, 1_000_000 * LONG_PING):
        await waiting.until(lambda: protocols[0].crowded, "answers to wait", seconds=60)
        await asyncio.sleep(0.5)
        frames = protocols[0]._frames  # noqa: SLF001 the bound is on these
        assert frames is not None
        assert WAITING_LIMIT == len(frames)
        assert 200 == (await client.get("/healthz")).status


@pytest.mark.usefixtures("unhurried")
async def test_a_client_that_reads_again_gets_every_answer(client: Client) -> None:
    """It was made to wait, and nothing was lost."""
    count = 40_000
    async with opened(client) as socket:
        pings = b"".join(frame({"type": "ping", "id": i}) for i in range(count))
        sending = asyncio.create_task(socket.push(pings))
        assert "hello" == json.loads((await socket.frame())[1])["type"]
        for i in range(count):
            assert {"type": "pong", "id": i} == json.loads((await socket.frame())[1])
        assert await sending


@pytest.mark.usefixtures("unhurried")
async def test_a_client_that_does_not_read_is_cut_off(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a closing handshake, for which it would have to read."""
    monkeypatch.setattr(session, "SEND_SECONDS", 0.2)
    counted = metrics.moves("factorline_websockets_closed_total", code=str(int(CloseCode.TOO_SLOW)))
    async with opened(client) as socket, counted:
        async with flooding(socket, 1_000_000 * LONG_PING):
            await waiting.until(lambda: sockets_of(client) == 0, "the socket to go", seconds=60)
        assert await socket.close_code() is None


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("last", [frame("", kind=WSMsgType.CLOSE), frame(70_000 * "x")])
async def test_closing_does_not_wait_for_a_client_that_does_not_read(
    client: Client, monkeypatch: pytest.MonkeyPatch, last: bytes
) -> None:
    """Neither if it closes the socket, nor if it sends what has to be refused."""
    monkeypatch.setattr(session, "SEND_SECONDS", 0.2)
    async with opened(client) as socket, flooding(socket, 100_000 * LONG_PING + last):
        await waiting.until(lambda: sockets_of(client) == 0, "the socket to go", seconds=60)


@pytest.mark.parametrize("ping", [PING, frame("", kind=WSMsgType.PING)])
async def test_a_stranger_gets_few_answers(closed_client: Client, ping: bytes) -> None:
    """Before a key was shown, pings of either kind count as invalid frames do."""
    async with opened(closed_client) as socket:
        await socket.push(100 * ping)
        assert CloseCode.TOO_MUCH_JUNK == await socket.close_code()


async def test_the_time_for_a_key_ends_for_whoever_floods(
    closed_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sends large frames and reads nothing, and the gateway forgets it all the same."""
    monkeypatch.setattr(session, "AUTHENTICATE_SECONDS", 0.2)
    monkeypatch.setattr(session, "CLOSE_SECONDS", 0.2)
    monkeypatch.setattr("gateway.websocket.protocol.JUNK_LIMIT", 10**9)
    assert closed_client.app is not None
    door = closed_client.app[DOORKEEPER]
    async with (
        opened(closed_client) as socket,
        flooding(socket, 10_000 * frame(60_000 * "x")),
    ):
        await waiting.until(lambda: door.unauthenticated == 1, "the socket")
        await waiting.until(lambda: sockets_of(closed_client) == 0, "the socket to go", seconds=60)
        assert 0 == door.unauthenticated


async def test_who_sends_too_much_is_read_from_slowly(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten frames at once, and then one every thousand seconds."""
    monkeypatch.setattr(session, "FRAMES_PER_SECOND", 0.001)
    monkeypatch.setattr(session, "FRAMES_AT_FIRST", 10)
    async with client.ws_connect("/ws") as socket:
        for i in range(12):
            await socket.send_json({"type": "ping", "id": i})
        for _ in range(11):  # hello is the first
            await socket.receive(timeout=20)
        with pytest.raises(TimeoutError):
            await socket.receive(timeout=0.2)


async def test_pings_of_the_websocket_are_answered(client: Client) -> None:
    """Of several at once the newest has to be (RFC 6455, section 5.5.3)."""
    async with opened(client) as socket:
        await socket.push(frame("a", kind=WSMsgType.PING) + frame("b", kind=WSMsgType.PING))
        while (await socket.frame()) != (WSMsgType.PONG, b"b"):
            pass


@pytest.mark.usefixtures("unhurried")
async def test_ten_thousand_changes_of_mind_leave_no_follower(
    client: Client, store: SqliteStore
) -> None:
    """Subscribing and unsubscribing, all in one packet: the hub is empty while the socket is open."""
    await store.create_factorization(factorizations.begin(HARD, 1.0))
    [task] = await store.insert_tasks([new_task(HARD, "", "anonymous", at=store.now())])
    assert client.app is not None
    hub = client.app[HUB]
    subscribe = frame({"type": "subscribe", "task_ids": [task.task_id]})
    unsubscribe = frame({"type": "unsubscribe", "task_ids": [task.task_id]})

    async with opened(client) as socket:

        async def read_until(kind: str) -> None:
            while json.loads((await socket.frame())[1])["type"] != kind:
                pass

        sending = asyncio.create_task(socket.push(10_000 * (subscribe + unsubscribe) + PING))
        await read_until("pong")
        assert await sending
        await waiting.until(lambda: hub.followers == 0, "the hub to be empty")
        await socket.push(10_000 * (unsubscribe + subscribe) + PING)
        await read_until("pong")
        await waiting.until(lambda: hub.followers == 1, "one follower")
    await waiting.until(lambda: hub.followers == 0, "the hub to be empty")


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame("{}", reserved=0x40), WSCloseCode.PROTOCOL_ERROR),  # compressed
        (frame(126 * "x", kind=WSMsgType.PING), WSCloseCode.PROTOCOL_ERROR),
        (frame("x", kind=WSMsgType.PING, last=False), WSCloseCode.PROTOCOL_ERROR),
        (frame("x", kind=WSMsgType.CONTINUATION), WSCloseCode.PROTOCOL_ERROR),
        (frame("x", last=False) + frame("x"), WSCloseCode.PROTOCOL_ERROR),
        (frame(b"\xff"), WSCloseCode.INVALID_TEXT),
        (frame(70_000 * "x"), WSCloseCode.MESSAGE_TOO_BIG),
        (
            frame("x", last=False)
            + 70 * frame(1000 * "x", kind=WSMsgType.CONTINUATION, last=False),
            WSCloseCode.MESSAGE_TOO_BIG,
        ),
        (30 * frame(b"\xff", kind=WSMsgType.BINARY), CloseCode.TOO_MUCH_JUNK),
    ],
)
async def test_what_no_library_sends_closes_the_socket(
    client: Client, sent: bytes, code: int
) -> None:
    """Compressed frames, large or broken control frames, pieces of nothing or of too much."""
    async with opened(client) as socket:
        await socket.push(sent)
        assert code == await socket.close_code()
    await waiting.until(lambda: sockets_of(client) == 0, "the socket to be forgotten")


async def test_pieces_of_nothing_take_no_memory(client: Client) -> None:
    """A hundred thousand empty pieces, with pings in between, are one message in the end."""
    ping = frame("p", kind=WSMsgType.PING)
    async with opened(client) as socket:
        await socket.push(frame('{"type": "pi', last=False))
        for _ in range(100):
            pieces = 1000 * frame("", kind=WSMsgType.CONTINUATION, last=False)
            assert await socket.push(pieces + ping)
        await socket.push(frame('ng"}', kind=WSMsgType.CONTINUATION))
        while json.loads(await socket.text())["type"] != "pong":
            pass


async def test_unknown_tasks_cost_one_read_for_many_frames(
    client: Client, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand ids in a hundred frames, each of which gets its error."""
    reads, method = 0, store.get_tasks

    async def get_tasks(task_ids: Sequence[str]) -> list[Task]:
        nonlocal reads
        reads += 1
        return await method(task_ids)

    monkeypatch.setattr(store, "get_tasks", get_tasks)
    frames = [
        frame({"type": "subscribe", "task_ids": [f"{turn}-{i}" for i in range(10)]})
        for turn in range(100)
    ]
    async with opened(client) as socket:
        await socket.push(b"".join(frames))
        await socket.text()  # hello
        answers = [json.loads(await socket.text()) for _ in range(1000)]

    assert {404} == {answer["problem"]["status"] for answer in answers}
    assert 1000 == len({answer["task_id"] for answer in answers})
    assert reads <= 100
