"""The fault laboratory: a whole installation whose network and processes fail as told, under watch.

Programs reach RabbitMQ and MongoDB through proxies, have fail points, and are started again when they
end, as Compose would. Clients keep a journal of all they do; afterwards nothing may be unexplained.
"""

import asyncio
import contextlib
import itertools
import json
import random
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple, Self

import aiohttp
import gmpy2
import psutil

from common.broker import Queue
from common.broker.rabbit import RabbitBroker
from common.runtime import failpoints
from common.runtime.failpoints import Action
from common.store.mongo import POOL, MongoStore
from gateway.websocket.session import SUBPROTOCOL
from infra.local.processes import Process
from infra.local.programs import Gateway
from infra.local.stack import Stack
from tests import servers, waiting
from tests.chaos.checker import Attempt, Journal, Told, Verdict, judge
from tests.proxy import Proxy

HEALTHZ_SECONDS = 1.0
"""However a gateway is attacked, it says within this time that it is alive."""
ATTACK_MEMORY = 64 << 20
"""Bytes by which an attack may make it grow."""
RECOVERY_SECONDS = 10.0
"""No fault may be felt for longer than this after its end."""
REFUSAL_SECONDS = 3.0
"""A dependency that is dead is said to be so within this time."""
UNIT_SECONDS = 8
"""Wall-clock limit of a unit in the laboratory: an endless one should not take a quarter of an hour."""
MEMORY_MB = 768
DIGITS = 24
"""Numbers that a survey answers at once: the faults are the subject, not the mathematics."""
SPARE_DESCRIPTORS = 2 * POOL
"""The connections to the store are kept for the next burst, and so are those of the balancer."""
SPARE_MEMORY = 96 << 20
SPARE_TASKS = 40
"""The balancer keeps connections for a while, and each has a task."""
CHANNELS = {"gateway": 3, "worker": 6}
"""What a program may have open: one for each consumer, one to publish with confirms, one without."""
PAGE = 100
OWNER = "anonymous"
"""Whose tasks are those that come without a key."""
Json = dict[str, Any]


class Footprint(NamedTuple):
    """What the installation holds at rest."""

    memory: dict[str, int]
    """Bytes by program, its children not included."""
    descriptors: dict[str, int]
    tasks: dict[str, int]
    """Asyncio tasks by gateway."""
    channels: int
    """In RabbitMQ, all together."""


class Pressure(NamedTuple):
    """How an attack on a gateway was felt there. Seconds and bytes."""

    healthz: float
    """The slowest answer of /healthz while it lasted."""
    before: int
    during: int
    """The most memory while it lasted."""
    after: int

    def __str__(self) -> str:
        """Return it in a few words."""
        before, during, after = (size >> 20 for size in self[1:])
        return f"healthz at worst {self.healthz:.2f} s, memory {before}, {during}, {after} MiB"

    def check(self) -> None:
        """Fail if others would have suffered."""
        assert self.healthz <= HEALTHZ_SECONDS, str(self)
        assert self.during <= self.before + ATTACK_MEMORY, str(self)


class FailPoints:
    """The folder by which the programs learn which faults are armed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / failpoints.FIRED).mkdir(parents=True)
        (folder / failpoints.MARK).touch()
        self._ids = itertools.count(1)
        self._pending: list[Path] = []

    def arm(self, point: str, action: Action, *, subject: object = "", times: int = 1) -> None:
        """Have so many passages of a point meet a fault."""
        (self.folder / point).mkdir(exist_ok=True)
        fault = json.dumps({"action": action, "subject": str(subject)})
        for _ in range(times):
            path = self.folder / point / f"{next(self._ids):06}.json"
            draft = path.with_suffix(".draft")
            draft.write_text(fault)
            draft.rename(self.folder / point / path.name)
            self._pending.append(path)

    def fired(self) -> bool:
        """Return whether every fault that was armed has happened."""
        return not any(path.exists() for path in self._pending)

    def disarm(self) -> int:
        """Take back the faults that have not happened; return how many those were."""
        left = [path for path in self._pending if path.exists()]
        for path in left:
            path.unlink()
        return len(left)

    async def all_fired(self, seconds: float = 20) -> None:
        """Return when every fault has happened; fail if one does not."""
        await waiting.until(self.fired, "an armed fail point to be reached", seconds=seconds)


class Follower:
    """A subscriber that comes back whenever it is cut off, and writes down what it is shown."""

    _ids = itertools.count(1)

    def __init__(
        self, session: aiohttp.ClientSession, journal: Journal, *, longest_pause: float = 0.3
    ) -> None:
        """``longest_pause`` is of the seconds before it comes back, which are drawn at random."""
        self._session = session
        self._journal = journal
        self._longest_pause = longest_pause
        self._name = next(self._ids)
        self._wanted: dict[str, None] = {}
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._running: asyncio.Task[None] | None = None
        self.done: set[str] = set()
        self.connected = 0
        """Times that it was let in."""

    async def __aenter__(self) -> Self:
        """Begin."""
        self._running = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """End."""
        assert self._running is not None
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    async def follow(self, task_id: str) -> None:
        """Subscribe to a task, now and after each reconnection until it is done."""
        self._wanted[task_id] = None
        if self._socket is not None and not self._socket.closed:
            with contextlib.suppress(ConnectionError):
                await self._socket.send_json({"type": "subscribe", "task_ids": [task_id]})

    @property
    def waits_for(self) -> set[str]:
        """Tasks whose end has not been told."""
        return set(self._wanted) - self.done

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                async with self._session.ws_connect(
                    "/ws", protocols=(SUBPROTOCOL,), heartbeat=5, max_msg_size=0
                ) as socket:
                    self.connected += 1
                    self._socket = socket
                    await self._listen(socket)
            self._socket = None
            await asyncio.sleep(random.uniform(0.05, self._longest_pause))

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        # What was followed meanwhile is in `waits_for`, or is sent by `follow` on this socket.
        if waits_for := self.waits_for:
            await socket.send_json({"type": "subscribe", "task_ids": sorted(waits_for)})
        subscription = next(self._ids)
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            frame = json.loads(message.data)
            if frame["type"] in {"snapshot", "update", "done"}:
                self._note(frame, subscription)
            elif frame["type"] == "error" and frame.get("task_id"):
                await asyncio.sleep(0.2)  # the store is down: ask again
                again = {"type": "subscribe", "task_ids": [frame["task_id"]]}
                await socket.send_json(again)

    def _note(self, frame: Json, subscription: int) -> None:
        task = frame["task"]
        self._journal.saw(task)
        self._journal.versions.setdefault((task["task_id"], self._name), []).append(task["version"])
        if frame["type"] == "done":
            self._journal.dones[task["task_id"], subscription] += 1
            self.done.add(task["task_id"])


class Laboratory:
    """The installation, what is between its parts, and its clients."""

    def __init__(self, folder: Path, *, seed: int = 1, gateways: int = 2, workers: int = 2) -> None:
        self.folder = folder
        self.chance = random.Random(seed)
        self.stack = Stack(folder / "stack", gateways=gateways, workers=workers)
        self.amqp = Proxy(self.stack.rabbitmq.amqp_port)
        self.mongo = Proxy(self.stack.mongo.port)
        self.points = FailPoints(folder / "points")
        self.journal = Journal()
        self.journals: list[Journal] = [self.journal]
        self.kept_down: set[Process] = set()
        """Processes that the supervisor lets lie."""
        self.slowest_refusal = 0.0
        """Seconds until a gateway told a client that a dependency is down."""
        self.refusals = 0
        """Answers 503, those of the balancer included: no gateway is ready while the store is down."""
        self.base: Footprint | None = None
        self.pressure: Pressure | None = None
        """How the attack of the row was felt."""
        self.found_elsewhere: list[Json] = []
        """Tasks of the journal that were drained from another installation, which a row had for itself."""
        self._exits = contextlib.AsyncExitStack()
        self._asked: set[int] = set()
        self._drained_before: set[str] = set()

    async def __aenter__(self) -> Self:
        """Start everything."""
        try:
            await self._start()
        except BaseException:
            await self._exits.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop everything."""
        await self._exits.aclose()

    async def _start(self) -> None:
        exits, stack = self._exits, self.stack
        await exits.enter_async_context(self.amqp)
        await exits.enter_async_context(self.mongo)
        detours = {
            f"127.0.0.1:{stack.rabbitmq.amqp_port}": f"127.0.0.1:{self.amqp.port}",
            f"127.0.0.1:{stack.mongo.port}": f"127.0.0.1:{self.mongo.port}",
        }
        for program in (*stack.gateways, *stack.workers):
            for direct, detour in detours.items():
                program.env = {
                    name: value.replace(direct, detour) for name, value in program.env.items()
                }
            program.env |= {
                failpoints.VARIABLE: str(self.points.folder),
                "FACTORLINE_UNIT_SECONDS": str(UNIT_SECONDS),
                "FACTORLINE_MEMORY_MB": str(MEMORY_MB),
            }
        await exits.enter_async_context(stack)
        exits.callback(servers.kill, stack)
        supervisor = asyncio.create_task(self._supervise())
        exits.callback(supervisor.cancel)
        self.session = await exits.enter_async_context(self.new_session())
        self.follower = await exits.enter_async_context(Follower(self.session, self.journal))
        self.broker = RabbitBroker(stack.rabbitmq.amqp_url, name="laboratory")
        await self.broker.open()
        exits.push_async_callback(self.broker.close)
        self.store = MongoStore(stack.mongo.uri, name="laboratory")
        await self.store.open()
        exits.push_async_callback(self.store.close)

    def new_session(self, *, seconds: float = 20, sockets: int = 500) -> aiohttp.ClientSession:
        """Return a client's HTTP session through the balancer."""
        return aiohttp.ClientSession(
            self.stack.url,
            timeout=aiohttp.ClientTimeout(total=seconds),
            connector=aiohttp.TCPConnector(limit=sockets),
        )

    async def _supervise(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            for program in self.stack.programs:
                if not program.running and program not in self.kept_down:
                    program.spawn()

    def keep_until_the_end(self, process: Process) -> None:
        """Stop a process together with the installation."""
        self._exits.push_async_callback(process.stop, grace_seconds=0)

    # --- clients ---

    def number(self, digits: int = DIGITS) -> int:
        """Return a product of two primes that was never asked for here."""
        low, high = 10 ** (digits // 2 - 1), 10 ** (digits // 2)
        while True:
            p, q = (int(gmpy2.next_prime(self.chance.randrange(low, high))) for _ in range(2))
            if p != q and p * q not in self._asked:
                self._asked.add(p * q)
                return p * q

    async def post(
        self,
        *,
        number: int | None = None,
        expected: Iterable[str] = ("succeeded",),
        patience: float = 60.0,
        follow: bool = True,
    ) -> Attempt:
        """Ask for a number, with the same key again and again until the answer is definite."""
        attempt = self.journal.attempt(number or self.number(), expected=expected)
        key, end = str(uuid.uuid4()), time.monotonic() + patience
        while attempt.told is Told.UNKNOWN and time.monotonic() < end:
            attempt.tries += 1
            await self._try(attempt, key)
            if attempt.told is Told.UNKNOWN:
                await asyncio.sleep(self.chance.uniform(0.1, 0.3))
        if follow and attempt.task_id is not None:
            await self.follower.follow(attempt.task_id)
        return attempt

    async def _try(self, attempt: Attempt, key: str) -> None:
        body, headers = {"number": str(attempt.number)}, {"Idempotency-Key": f'"{key}"'}
        began = time.monotonic()
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with self.session.post("/factor", json=body, headers=headers) as response:
                if response.status == 202:
                    view = await response.json()
                    attempt.told, attempt.task_id = Told.ACCEPTED, view["task_id"]
                    self.journal.saw(view)
                elif response.status < 500:
                    attempt.told = Told.REFUSED
                elif response.content_type == "application/problem+json":
                    self.refusals += 1
                    await response.read()
                    elapsed = time.monotonic() - began
                    self.slowest_refusal = max(self.slowest_refusal, elapsed)
                elif response.status == HTTPStatus.SERVICE_UNAVAILABLE:
                    self.refusals += 1

    async def post_many(self, count: int, **how: Any) -> list[Attempt]:
        """Ask for so many numbers at once."""
        return await asyncio.gather(*(self.post(**how) for _ in range(count)))

    @contextlib.asynccontextmanager
    async def traffic(self, rate: float = 5.0) -> AsyncIterator[None]:
        """Have clients ask for numbers all the time, whether they are answered or not."""
        posts: set[asyncio.Task[Attempt]] = set()

        async def ask() -> None:
            while True:
                posts.add(asyncio.create_task(self.post()))
                await asyncio.sleep(1 / rate)

        asking = asyncio.create_task(ask())
        try:
            yield
        finally:
            asking.cancel()
            self._posts = posts

    @contextlib.asynccontextmanager
    async def under_attack(self, gateway: Gateway) -> AsyncIterator[None]:
        """Ask a gateway all the time whether it is alive, past the balancer, and watch its memory."""
        process = psutil.Process(gateway.pid)
        before = most = process.memory_info().rss
        slowest = 0.0

        async def look() -> None:
            nonlocal most, slowest
            async with aiohttp.ClientSession(f"http://{gateway.address}") as session:
                while True:
                    began = time.monotonic()
                    async with session.get("/healthz") as response:
                        assert response.ok, f"/healthz answers {response.status}"
                    slowest = max(slowest, time.monotonic() - began)
                    most = max(most, process.memory_info().rss)
                    await asyncio.sleep(0.05)

        looking = asyncio.create_task(look())
        try:
            yield
            assert not looking.done(), f"/healthz failed: {looking.exception()}"
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
        await asyncio.sleep(1)
        self.pressure = Pressure(slowest, before, most, process.memory_info().rss)

    async def get(self, task_id: str | None) -> Json:
        """Return a task's representation, asking until there is an answer."""
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                async with self.session.get(f"/tasks/{task_id}") as response:
                    if response.status == 200:
                        view: Json = await response.json()
                        self.journal.saw(view)
                        return view
            await asyncio.sleep(0.1)

    # --- recovery and rest ---

    async def recovered(self, *, seconds: float = 60) -> None:
        """Return when everybody has an answer to everything, a fresh number included."""
        posts = list(getattr(self, "_posts", ()))
        await asyncio.wait_for(asyncio.gather(*posts, self.post()), seconds)
        self._posts = set()
        await waiting.until(
            lambda: not self.follower.waits_for,
            "followers to be told all ends",
            seconds=seconds,
        )

    async def at_rest(self, *, seconds: float = 60) -> None:
        """Return when nothing is outstanding anywhere; fail, saying what is, if that never comes."""
        left: Json = {}

        async def nothing() -> bool:
            left.clear()
            began = time.monotonic()
            left.update(await self._outstanding())
            if any(left.values()):  # with thousands of tasks to look through, the look is a burden
                await asyncio.sleep(4 * (time.monotonic() - began))
            return not any(left.values())

        try:
            await waiting.until(nothing, "rest", seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}: {left}") from None

    async def _outstanding(self) -> Json:
        later = time.time() + 60
        listing: Json = {"touched_before": later, "after": None, "limit": PAGE}
        try:
            return {
                **{queue.value: await self.broker.depth(queue) for queue in Queue},
                "active": len(await self.store.list_active(**listing)),
                "unpublished": len(await self.store.list_unpublished(**listing)),
                "unjoined": len(await self.store.list_waiting_owners()),
                "in hand": sum(
                    len(worker.running)
                    for worker in await self.store.list_workers(seen_after=time.time() - 10)
                ),
            }
        except Exception as error:  # noqa: BLE001 a server is not back yet
            return {"unreachable": str(error)}

    async def drain(self, session: aiohttp.ClientSession | None = None) -> list[Json]:
        """Return every task that no earlier drain has returned, of another installation if one is given."""
        found: list[Json] = []
        cursor: str | None = None
        while True:
            params = {"limit": str(PAGE), **({"cursor": cursor} if cursor else {})}
            page = await self._page(session or self.session, params)
            fresh = [view for view in page["tasks"] if view["task_id"] not in self._drained_before]
            found += fresh
            cursor = page.get("next_cursor")
            if cursor is None or not fresh:
                break
        self._drained_before |= {view["task_id"] for view in found}
        return found

    @staticmethod
    async def _page(session: aiohttp.ClientSession, params: dict[str, str]) -> Json:
        """Return a page of the tasks; a store that is too busy to give it in time is asked again."""
        for _ in range(10):
            async with session.get("/tasks", params=params) as response:
                if response.status == HTTPStatus.OK:
                    page: Json = await response.json()
                    return page
                refusal = await response.text()
                assert response.status == HTTPStatus.SERVICE_UNAVAILABLE, refusal
            await asyncio.sleep(1)
        raise AssertionError(refusal)

    async def verdict(self) -> Verdict:
        """Judge what has happened since the last verdict, and begin a new journal."""
        asked = self.journal.attempts
        elsewhere = [view for view in self.found_elsewhere if int(view["number"]) in asked]
        verdict = judge(self.journal, await self.drain() + elsewhere)
        self.begin_journal()
        return verdict

    def begin_journal(self) -> None:
        """Begin anew; the old journal is kept for `final_verdict`."""
        self.journal = Journal()
        self.journals.append(self.journal)
        self.follower._journal = self.journal  # noqa: SLF001 ours

    async def final_verdict(self) -> Verdict:
        """Judge everything that ever happened here against what the service holds now."""
        everything = Journal()
        for journal in self.journals:
            everything.attempts |= journal.attempts
            for task_id, ends in journal.ends.items():
                everything.ends.setdefault(task_id, []).extend(ends)
        self._drained_before = set()
        return judge(everything, await self.drain() + self.found_elsewhere)

    async def restore(self) -> None:
        """Start whatever does not run, pass everything, and wait until a number gets its answer."""
        self.kept_down.clear()
        self.amqp.heal()
        self.mongo.heal()
        for process in (*self.stack.servers, *self.stack.programs):
            await process.start()

    async def footprint(self) -> Footprint:
        """Return what the installation holds now."""
        programs = [*self.stack.gateways, *self.stack.workers]
        processes = {program.name: psutil.Process(program.pid) for program in programs}
        tasks: dict[str, int] = {}
        async with aiohttp.ClientSession() as session:
            for gateway in self.stack.gateways:
                async with session.get(f"http://{gateway.metrics_address}/metrics") as response:
                    lines = (await response.text()).splitlines()
                name = "factorline_asyncio_tasks "
                tasks[gateway.name] = int(
                    float(next(line for line in lines if line.startswith(name)).split()[1])
                )
        return Footprint(
            memory={name: process.memory_info().rss for name, process in processes.items()},
            descriptors={name: process.num_fds() for name, process in processes.items()},
            tasks=tasks,
            channels=await self.channels(),
        )

    async def channels(self) -> int:
        """Return how many channels the programs have open in RabbitMQ."""
        rabbitmq = self.stack.rabbitmq
        headers = {"Authorization": aiohttp.encode_basic_auth(rabbitmq.user, rabbitmq.password)}
        async with (
            aiohttp.ClientSession(rabbitmq.management_url, headers=headers) as session,
            session.get("api/channels", params={"columns": "name,connection_details"}) as response,
        ):
            response.raise_for_status()
            return len(await response.json())

    async def back_to_base(self, *, seconds: float = 30) -> None:
        """Return when memory, descriptors, tasks and channels are where they were before any fault."""
        base = self.base
        assert base is not None
        grown: list[str] = []

        async def back() -> bool:
            grown[:] = _growth(base, await self.footprint())
            return not grown

        try:
            await waiting.until(back, "the footprint at rest", seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}: {'; '.join(grown)}") from None

    async def warm(self) -> None:
        """Use every part once at least, and remember what the installation holds at rest."""
        await self.post_many(40)
        await self.recovered(seconds=300)  # the first start of all compiles the sieve
        await self.at_rest()
        self.base = await self.footprint()
        assert not (await self.verdict()).faults


def _growth(base: Footprint, now: Footprint) -> list[str]:
    """Return what has grown, in words."""
    found = [
        f"{name} holds {now.memory[name] >> 20} MiB instead of {memory >> 20}"
        for name, memory in base.memory.items()
        if now.memory[name] > memory + SPARE_MEMORY
    ]
    found += [
        f"{name} holds {now.descriptors[name]} descriptors instead of {count}"
        for name, count in base.descriptors.items()
        if now.descriptors[name] > count + SPARE_DESCRIPTORS
    ]
    found += [
        f"{name} runs {now.tasks[name]} tasks instead of {count}"
        for name, count in base.tasks.items()
        if now.tasks[name] > count + SPARE_TASKS
    ]
    most = sum(CHANNELS[name.partition("-")[0]] for name in base.memory)
    if now.channels > most:  # they are opened when first needed, so the base may have fewer
        found.append(f"{now.channels} channels instead of {most}")
    return found


def summary(counts: Counter[str]) -> str:
    """Return counts in a line."""
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
