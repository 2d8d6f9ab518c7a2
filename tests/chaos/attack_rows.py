"""Rows about clients that mean harm: what they send is cheap, and must not cost others anything."""

import asyncio
import contextlib
import gzip
import resource
from collections.abc import AsyncIterator, Sequence

from infra.local.programs import Gateway
from tests import waiting
from tests.chaos.laboratory import Laboratory
from tests.chaos.row import row
from tests.gateway.websocket.raw import frame, handshake

INFLATED = 512 << 20
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


class Crowd:
    """Connections to one gateway, past the balancer."""

    def __init__(self, gateway: Gateway) -> None:
        host, _, port = gateway.address.rpartition(":")
        self._address = host, int(port)
        self.connections: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def add(self, sent: bytes = b"") -> asyncio.StreamReader:
        """Open one more and send some bytes."""
        reader, writer = await asyncio.open_connection(*self._address)
        self.connections.append((reader, writer))
        writer.write(sent)
        return reader

    def send(self, data: bytes) -> None:
        """Send some bytes over each that is still open."""
        for _, writer in self.connections:
            if not writer.transport.is_closing():
                writer.write(data)

    @property
    def ended(self) -> int:
        """How many the gateway has closed."""
        return sum(
            reader.at_eof() or reader.exception() is not None for reader, _ in self.connections
        )


@contextlib.asynccontextmanager
async def crowd(gateway: Gateway) -> AsyncIterator[Crowd]:
    """Yield a crowd that is gone afterwards."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    found = Crowd(gateway)
    try:
        yield found
    finally:
        for _, writer in found.connections:
            writer.transport.abort()


async def served(crowd: Crowd) -> bool:
    """Return whether a newcomer among a crowd is answered."""
    reader = await crowd.add(HEALTH)
    async with asyncio.timeout(5):
        return (await reader.readline()).startswith(b"HTTP/1.1 200 ")


@row("compressed bombs of 2 GB", attack=True)
async def bombs(lab: Laboratory) -> None:
    """Four at once at one gateway, half a megabyte each on the wire, and four through the balancer."""
    gateway = lab.stack.gateways[0]
    bomb = await asyncio.to_thread(gzip.compress, bytes(INFLATED))
    async with lab.under_attack(gateway):

        async def post(url: str) -> int:
            headers = {"Content-Encoding": "gzip"}
            async with lab.session.post(f"{url}/factor", data=bomb, headers=headers) as response:
                return response.status

        urls = 4 * [f"http://{gateway.address}"] + 4 * [lab.stack.url]
        assert [415] * 8 == await asyncio.gather(*map(post, urls))


@row("300 slow bodies at one gateway", attack=True)
async def slow_bodies(lab: Laboratory) -> None:
    """Each sends a byte in two seconds; those that are too many are cut off, the others after a minute."""
    gateway = lab.stack.gateways[0]
    head = b"POST /factor HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n{"
    async with lab.under_attack(gateway), crowd(gateway) as slow:
        for _ in range(300):
            await slow.add(head)

        async def all_ended() -> bool:
            slow.send(b" ")
            await asyncio.sleep(2)
            return slow.ended == len(slow.connections)

        await waiting.until(lambda: slow.ended >= 300 - 256, "the first to be cut off")
        assert await served(slow)
        await waiting.until(all_ended, "all of them to be cut off", seconds=90)


@row("5 000 idle connections at one gateway", attack=True)
async def idle(lab: Laboratory) -> None:
    """They send nothing, come back as they are closed, and newcomers are served all the time."""
    gateway = lab.stack.gateways[0]
    async with lab.under_attack(gateway), crowd(gateway) as idle:
        for turn in range(5000):
            await idle.add()
            if turn % 500 == 499:
                assert await served(idle)
        await waiting.until(
            lambda: idle.ended >= 5000 - 256, "the longest idle to make room", seconds=20
        )
        assert await served(idle)


@row("flood of pings over 20 WebSockets", attack=True)
async def pings(lab: Laboratory) -> None:
    """Ten send half a million small ones each, ten send large ones, and none of them reads meanwhile."""
    gateway = lab.stack.gateways[0]
    small, large = frame({"type": "ping"}), frame({"type": "ping", "id": 60_000 * "x"})
    async with lab.under_attack(gateway), crowd(gateway) as patient, crowd(gateway) as greedy:
        for _ in range(10):
            await patient.add(handshake("127.0.0.1"))
            await greedy.add(handshake("127.0.0.1"))
        patient.send(500_000 * small)
        greedy.send(400 * large)
        assert await served(patient)
        async with asyncio.timeout(60):  # the large ones are refused
            answers = (reader.read() for reader, _ in greedy.connections)
            await asyncio.gather(*answers, return_exceptions=True)
        await asyncio.sleep(20)
        assert await served(patient)


async def _held_tasks(lab: Laboratory, numbers: Sequence[int]) -> list[str]:
    """Stop the workers, and ask for numbers that wait for them; return the tasks."""
    lab.kept_down |= set(lab.stack.workers)
    for worker in lab.stack.workers:
        worker.kill()
    places = asyncio.Semaphore(20)

    async def post(number: int) -> str:
        async with places:
            return (await lab.post(number=number, follow=False)).task_id or ""

    return await asyncio.gather(*map(post, numbers))


async def _let_go(lab: Laboratory) -> None:
    lab.kept_down.clear()
    for worker in lab.stack.workers:
        await worker.start()
    await lab.at_rest(seconds=120)


@row("20 000 changes of mind over 10 WebSockets", traffic=0, attack=True)
async def changes_of_mind(lab: Laboratory) -> None:
    """They subscribe to a task and unsubscribe, in one packet, hang up, and leave no follower."""
    gateway = lab.stack.gateways[0]
    [task_id] = await _held_tasks(lab, [lab.number()])
    subscribe = frame({"type": "subscribe", "task_ids": [task_id]})
    unsubscribe = frame({"type": "unsubscribe", "task_ids": [task_id]})
    async with lab.under_attack(gateway):
        async with crowd(gateway) as fickle:
            for _ in range(10):
                await fickle.add(handshake("127.0.0.1") + 1000 * (subscribe + unsubscribe))
            fickle.send(1000 * (unsubscribe + subscribe))
            await asyncio.sleep(10)
            assert await served(fickle)
        await waiting.until(lambda: _nobody_follows(lab, gateway), "every follower to be forgotten")
    await _let_go(lab)


async def _nobody_follows(lab: Laboratory, gateway: Gateway) -> bool:
    async with lab.session.get(f"http://{gateway.metrics_address}/metrics") as response:
        return "factorline_followed_numbers 0.0" in await response.text()


@row("400 numbers with the same hash over 20 WebSockets", traffic=0, attack=True)
async def equal_hashes(lab: Laboratory) -> None:
    """They are equal modulo 2^61 - 1, as which Python hashes integers, and all are followed 20 times."""
    gateway = lab.stack.gateways[0]
    first = lab.number()
    ids = await _held_tasks(lab, [first + turn * (2**61 - 1) for turn in range(400)])
    subscribe = frame({"type": "subscribe", "task_ids": ids})
    async with lab.under_attack(gateway), crowd(gateway) as followers:
        for _ in range(20):
            await followers.add(handshake("127.0.0.1") + subscribe)
        await asyncio.sleep(20)  # two rechecks of all that is followed
        assert await served(followers)
        await _let_go(lab)
