"""Rows about clients, sockets, the balancer, and messages that nobody should have sent."""

import asyncio
import contextlib
import io
import json
import resource
import urllib.parse
from collections.abc import AsyncIterator

import aio_pika
import aiohttp
import psutil

from common.broker import Queue
from gateway.websocket.session import SUBPROTOCOL
from tests import waiting
from tests.chaos.checker import Attempt, Told
from tests.chaos.laboratory import Follower, Laboratory
from tests.chaos.row import row


def _request(lab: Laboratory, number: int) -> bytes:
    body = json.dumps({"number": str(number)}).encode()
    host = urllib.parse.urlsplit(lab.stack.url).netloc
    head = f"POST /factor HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@row("clients gone during POST and WebSocket", short=True)
async def gone(lab: Laboratory) -> None:
    """They hang up after half a request, right after a whole one, and in the middle of following."""
    parts = urllib.parse.urlsplit(lab.stack.url)
    followed = await lab.post()
    for turn in range(30):
        attempt = lab.journal.attempt(lab.number())
        request = _request(lab, attempt.number)
        _, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(request if turn % 2 else request[: len(request) // 2])
        await writer.drain()
        writer.transport.abort()
        async with lab.session.ws_connect("/ws", protocols=(SUBPROTOCOL,)) as socket:
            await socket.send_json({"type": "subscribe", "task_ids": [followed.task_id]})
            socket._response.connection.transport.abort()  # type: ignore[union-attr] # noqa: SLF001


async def _held_back(lab: Laboratory) -> None:
    """Stop the workers, so that nothing that is asked for ends."""
    lab.kept_down |= set(lab.stack.workers)
    for worker in lab.stack.workers:
        worker.kill()


async def _let_go(lab: Laboratory) -> None:
    lab.kept_down.clear()
    for worker in lab.stack.workers:
        await worker.start()


@row("slow reader, 1 000 frames", traffic=0)
async def slow_reader(lab: Laboratory) -> None:
    """It follows 500 tasks, reads nothing until all have ended, and still is told each end once.

    It answers no heartbeat meanwhile, so the gateway may cut it off; then it comes back for the rest.
    """
    await _held_back(lab)
    posted = await lab.post_many(500, follow=False)
    ids = [attempt.task_id or "" for attempt in posted]
    done: list[str] = []
    async with lab.session.ws_connect("/ws", protocols=(SUBPROTOCOL,)) as socket:
        await socket.send_json({"type": "subscribe", "task_ids": ids})
        await _let_go(lab)
        await lab.at_rest(seconds=120)
        done += await _ends(socket, len(ids))
        assert len(done) == len(ids) or socket.closed
    missing = sorted(set(ids) - set(done))
    async with lab.session.ws_connect("/ws", protocols=(SUBPROTOCOL,)) as socket:
        await socket.send_json({"type": "subscribe", "task_ids": missing})
        done += await _ends(socket, len(missing))
    assert sorted(done) == sorted(ids)


async def _ends(socket: aiohttp.ClientWebSocketResponse, count: int) -> list[str]:
    """Return the tasks that a socket says are done, so many, or fewer if it is closed before."""
    done: list[str] = []
    async with asyncio.timeout(60):
        while len(done) < count:
            message = await socket.receive()
            if message.type is not aiohttp.WSMsgType.TEXT:
                break
            frame = json.loads(message.data)
            if frame["type"] == "done":
                done.append(frame["task"]["task_id"])
    return done


@contextlib.asynccontextmanager
async def _crowd(
    lab: Laboratory, count: int, posted: list[Attempt]
) -> AsyncIterator[list[Follower]]:
    """Yield many followers, each let in once and subscribed to one of the tasks.

    They try to come back 1 000 times a second all together: more than that and this process, through
    which the links of the programs go, would be too busy to let those start.
    """
    async with lab.new_session(seconds=120, sockets=0) as session:
        crowd: list[Follower] = []
        try:
            for index in range(count):
                follower = Follower(session, lab.journal, longest_pause=max(0.3, count / 500))
                await follower.follow(posted[index % len(posted)].task_id or "")
                crowd.append(await follower.__aenter__())
                if index % 100 == 99:
                    await waiting.until(
                        lambda: all(follower.connected for follower in crowd),
                        "the crowd to be let in",
                        seconds=60,
                    )
            yield crowd
        finally:
            await asyncio.gather(*(follower.__aexit__() for follower in crowd))


async def _all_told(crowd: list[Follower]) -> None:
    await waiting.until(
        lambda: not any(follower.waits_for for follower in crowd), "the crowd to know", seconds=120
    )


@row("rolling restart of both gateways with 1 000 subscribers", traffic=1, soak=False)
async def rolling_restart(lab: Laboratory) -> None:
    """Everybody is told to come back, does, and hears the end once."""
    await _held_back(lab)
    posted = await lab.post_many(20)
    async with _crowd(lab, 1000, posted) as crowd:
        for gateway in lab.stack.gateways:
            await gateway.stop()
            await gateway.start()
            await waiting.until(lab.stack.haproxy.ready, "the balancer", seconds=20)
        await _let_go(lab)
        await _all_told(crowd)
        assert sum(follower.connected for follower in crowd) >= 1800, "the gateways did not leave"


@row("herd of 5 000 reconnects", traffic=0, soak=False)
async def herd(lab: Laboratory) -> None:
    """Both gateways die at once, and everybody is back as soon as they are."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    await _held_back(lab)
    posted = await lab.post_many(20)
    async with _crowd(lab, 5000, posted) as crowd:
        for gateway in lab.stack.gateways:
            gateway.kill()
        await _let_go(lab)
        await _all_told(crowd)
        assert sum(follower.connected for follower in crowd) >= 9000, "they were not cut off"


@row("HAProxy drains a gateway that leaves", traffic=20)
async def drained(lab: Laboratory) -> None:
    """No request fails: the balancer stops sending any before the gateway stops taking them."""
    gateway = lab.stack.gateways[0]
    before = set(lab.journal.attempts)
    await gateway.stop()
    await gateway.start()
    during = [lab.journal.attempts[number] for number in lab.journal.attempts.keys() - before]
    noticed = [attempt.number for attempt in during if attempt.tries > 1]
    assert len(during) > 10
    assert not noticed, f"{len(noticed)} of {len(during)} requests failed"


@row("unknown message version, garbage, 10 MB", short=True)
async def nonsense(lab: Laboratory) -> None:
    """In the queues, over HTTP, and over WebSocket: each is refused, and the rest goes on."""
    bodies = [
        b"",
        b"garbage \xff\xfe",
        b'{"v":99,"unit_id":"x"}',
        b'{"v":1,"unit_id":"x","number":"35","work":{"type":"survey","target":"35"}}',
        b"[" * 100_000,
        b"x" * (10 << 20),
    ]
    connection = await aio_pika.connect(lab.stack.rabbitmq.amqp_url)
    async with connection, connection.channel() as channel:
        for queue in (Queue.SURVEY, Queue.WORK):
            for body in bodies:
                await channel.default_exchange.publish(aio_pika.Message(body), queue.value)
        for exchange in ("factor.events", "factor.control"):
            for body in bodies:
                to = await channel.get_exchange(exchange)
                await to.publish(aio_pika.Message(body), "x", mandatory=False)
    for body in (b"x" * (10 << 20), b'{"number": "' + b"9" * (10 << 20) + b'"}'):
        with contextlib.suppress(aiohttp.ClientError):  # it may hang up on us in the middle
            async with lab.session.post("/factor", data=io.BytesIO(body)) as response:
                assert response.status == 413, response.status
    async with lab.session.ws_connect("/ws", protocols=(SUBPROTOCOL,)) as socket:
        with contextlib.suppress(ConnectionError):
            await socket.send_bytes(b"\xff" * 1000)
            await socket.send_str("x" * (10 << 20))
        async for _message in socket:
            pass
        assert socket.close_code, "it was not closed"


async def _limit(pid: int | None, soft: int) -> None:
    process = psutil.Process(pid)
    hard = process.rlimit(psutil.RLIMIT_NOFILE)[1]
    process.rlimit(psutil.RLIMIT_NOFILE, (soft, hard))


@row("descriptors exhausted in a gateway")
async def descriptors(lab: Laboratory) -> None:
    """It has none left for three seconds; the other one serves."""
    gateway = lab.stack.gateways[0]
    process = psutil.Process(gateway.pid)
    usual = process.rlimit(psutil.RLIMIT_NOFILE)[0]
    await _limit(gateway.pid, process.num_fds())
    try:
        async with asyncio.TaskGroup() as sockets:
            for _ in range(20):
                sockets.create_task(_knock(gateway.address))
        await asyncio.sleep(3)
        assert "Too many open files" in gateway.log.read_text(errors="replace")
    finally:
        await _limit(gateway.pid, usual)


async def _knock(address: str) -> None:
    host, _, port = address.partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    await asyncio.sleep(3)
    writer.close()


async def _cancelled(lab: Laboratory, task_id: str) -> dict[str, object]:
    """Cancel a task, as often as the store is too slow to answer; return what it is then."""
    while True:
        async with lab.session.delete(f"/tasks/{task_id}") as response:
            if response.status != 503:
                assert response.status == 200, await response.text()
                shown: dict[str, object] = await response.json()
                return shown
        await asyncio.sleep(1)


async def _cancel_races(lab: Laboratory, count: int) -> None:
    """Ask, and cancel while it is being answered: one of the two wins, and both are told which."""
    places = asyncio.Semaphore(20)

    async def asked() -> str | None:
        # 48 digits take a tenth of a second: shorter ones have ended before they are accepted
        number, ends = lab.number(48), {"succeeded", "cancelled"}
        return (await lab.post(number=number, expected=ends, follow=False)).task_id

    async def race() -> str:
        async with places:
            while (task_id := await asked()) is None:  # a store that is too slow: no race yet
                await asyncio.sleep(1)
            # of every order, from a millisecond to three seconds: machines differ in what wins
            await asyncio.sleep(10 ** lab.chance.uniform(-3, 0.5))
            view = await _cancelled(lab, task_id)
            assert view["done"], view
            lab.journal.saw(view)
            return str(view["status"])

    ends = await asyncio.gather(*(race() for _ in range(count)))
    assert {"succeeded", "cancelled"} == set(ends), f"{ends[0]} always: this is no race"


@row("cancel against completion, 100 times", traffic=0)
async def cancel_race(lab: Laboratory) -> None:
    """A task has one end."""
    await _cancel_races(lab, 100)


@row(
    "cancel against completion, 10 000 times",
    traffic=0,
    soak=False,
)
async def cancel_races(lab: Laboratory) -> None:
    """The same, until every interleaving has been met."""
    await _cancel_races(lab, 10_000)


async def _backlog(lab: Laboratory, count: int) -> None:
    await _held_back(lab)
    for _ in range(count // 500):
        attempts = [lab.journal.attempt(lab.number()) for _ in range(500)]
        body = {"numbers": [str(attempt.number) for attempt in attempts]}
        async with lab.session.post("/tasks/batch", json=body, timeout=_LONG) as response:
            assert response.status == 200, await response.text()
            items = (await response.json())["items"]
        for attempt, item in zip(attempts, items, strict=True):
            attempt.told, attempt.task_id = Told.ACCEPTED, item["task"]["task_id"]
    await _let_go(lab)
    await lab.at_rest(seconds=max(120, count / 10))


_LONG = aiohttp.ClientTimeout(total=600)


@row("backlog of 2 000 tasks", traffic=0, soak=False)
async def backlog(lab: Laboratory) -> None:
    """It is worked off, and nothing is swept twice meanwhile."""
    await _backlog(lab, 2000)


@row(
    "backlog of 100 000 tasks",
    traffic=0,
    soak=False,
    not_here="the MongoDB-wire server that stands in for MongoDB here takes about 150 inserts a second, "
    "each task is several, and the rows share two cores: hours. The row of 2 000 is the same code, "
    "and the embedded mode has a row of 100 000",
)
async def long_backlog(lab: Laboratory) -> None:
    """The same, for a machine with a real MongoDB."""
    await _backlog(lab, 100_000)
