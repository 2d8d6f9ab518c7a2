"""infra/mongo/roles.json grants each program what it does to each collection, and nothing else.

The local stack's server checks databases only, so these tests listen to the programs' commands.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from msgspec.structs import replace
from pymongo import monitoring

from common.broker.memory import MemoryBroker
from common.domain import (
    BigInt,
    KeyedRequest,
    KeyLimits,
    Outcome,
    Part,
    Sieve,
    Solve,
    Unit,
    factorizations,
    new_key,
)
from common.domain.keyed_requests import request_id_of
from common.lifecycle import Lifecycle, Submission, new_task
from common.numbers import ParsedNumber
from common.runtime.settings import Settings
from common.store.mongo import MongoStore
from factor_worker.engine.siqs.polynomials import parameters
from factor_worker.worker import Worker
from gateway.app import create_app
from infra.local.mongo import roles
from tests import waiting
from tests.contract.conftest import opened_mongo

pytestmark = pytest.mark.usefixtures("every_number_queued")

SIEVABLE = BigInt((10**22 + 9) * (10**21 + 117))

ACTIONS = {
    "find": {"find"},
    "aggregate": {"find"},
    "count": {"find"},
    "distinct": {"find"},
    "insert": {"insert"},
    "update": {"update"},
    "delete": {"remove"},
    "findAndModify": {"find", "update"},
    "createIndexes": {"createIndex"},
    "collStats": {"collStats"},
}
"""What MongoDB wants for a command; an upsert inserts besides."""
FREE = {
    "hello",
    "ismaster",
    "ping",
    "saslStart",
    "saslContinue",
    "endSessions",
    "getMore",
    "killCursors",
}


class Listener(monitoring.CommandListener):
    """Notes which actions the programs need on which collections."""

    def __init__(self) -> None:
        self.asked: defaultdict[str, set[str]] = defaultdict(set)
        self.strange: set[str] = set()
        self.listening = True

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """Note a command."""
        name, command = event.command_name, event.command
        if name in FREE or not self.listening:
            return
        if name not in ACTIONS:
            self.strange.add(name)
            return
        actions = set(ACTIONS[name])
        if any(update.get("upsert") for update in command.get("updates", ())):
            actions.add("insert")
        self.asked[str(command[name])] |= actions

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Do nothing: the command was noted."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Do nothing: the command was noted."""


@pytest.fixture
def listener() -> Iterator[Listener]:
    """Yield a listener to every client that is made meanwhile."""
    listener = Listener()
    monitoring.register(listener)
    yield listener
    monitoring._LISTENERS.command_listeners.remove(listener)  # noqa: SLF001 pymongo has no way back


@pytest.fixture
async def store(listener: Listener, mongodb_uri: str) -> AsyncIterator[MongoStore]:
    """Yield an empty store that is listened to."""
    del listener  # it has to be there before
    async with opened_mongo(mongodb_uri) as store:
        yield store


async def test_the_role_of_gateways(
    listener: Listener, store: MongoStore, memory_broker: MemoryBroker
) -> None:
    """They need what HTTP offers a key with limits, and what `factorline keys` does."""
    app = create_app(Settings(keys=True), store=store, broker=memory_broker)
    limits = KeyLimits(requests_per_second=100, tasks=100)
    made = new_key("somebody", operator=True, limits=limits, now=1.0)
    await store.insert_key(made.key)
    used = request_id_of(made.key.owner, "used long ago", batch=False)
    await store.insert_request(KeyedRequest(request_id=used, digest="", task_ids=(), made_at=1.0))
    headers = {"Authorization": f"Bearer {made.secret}"}
    server = TestServer(app)
    async with TestClient[web.Request, web.Application](server, headers=headers) as client:
        submitted: list[dict[str, Any]] = []
        for number in (1234, 1235, 1236):
            response = await client.post("/factor", json={"number": number})
            submitted.append(await response.json())
        key = {"Idempotency-Key": "used long ago"}
        await client.post("/factor", json={"number": 1237}, headers=key)
        await client.post("/tasks/batch", json={"numbers": [91, "x"]})
        for task in submitted:
            await client.get(f"/get/{task['task_id']}")
            await client.get(f"/tasks/{task['task_id']}")
        await client.delete(f"/tasks/{submitted[0]['task_id']}")
        await client.delete("/tasks")
        await client.post("/factor", json={"number": 1234})
        for path in ("/tasks", "/numbers/91", "/readyz", "/status"):
            assert (await client.get(path)).status == 200
    await store.revoke_key(made.key.key_id, 2.0)

    assert {name: set(actions) for name, actions in roles()["gateway"].items()} == listener.asked
    assert not listener.strange


async def test_the_role_of_workers(
    listener: Listener, store: MongoStore, memory_broker: MemoryBroker
) -> None:
    """They need what it takes to settle, sieve, solve, sweep and send heartbeats."""
    listener.listening = False
    submission = Submission(owner="somebody", numbers=(ParsedNumber(1234, "1234"),))
    await Lifecycle(store, memory_broker).accept(submission)
    await store.insert_tasks([new_task(1235, "1235", "somebody", at=store.now())])
    await store.create_factorization(factorizations.begin(BigInt(1236), 1.0))
    listener.listening = True
    worker = Worker(Settings(slots=1), store, memory_broker)
    await worker.start(alone=True)

    async def ended() -> bool:
        known = await store.get_factorization(1234)
        return known is not None and known.ended is not None

    await waiting.until(ended, "an answer", seconds=30)
    chosen = parameters.choose(SIEVABLE).to_dict()
    sieve = Unit(unit_id="a", number=SIEVABLE, work=Sieve(SIEVABLE, chosen, 0, 1))
    solve = Unit(unit_id="b", number=SIEVABLE, work=Solve(SIEVABLE, chosen))
    consumer = worker._consumer  # noqa: SLF001 a number that is sieved in units would take too long
    async with worker._work_pool.take() as slot:  # noqa: SLF001 the same
        await consumer._compute_in_slot(slot, sieve)  # noqa: SLF001 the same
        await consumer._compute_in_slot(slot, solve)  # noqa: SLF001 the same
    halves = (Part(value=BigInt(10**22 + 9)), Part(value=BigInt(10**21 + 117)))
    split = replace(factorizations.begin(SIEVABLE, 1.0), parts=halves)
    await consumer._settlement.delete_relations(sieve, split)  # noqa: SLF001 the same
    settled = await Lifecycle(store, memory_broker).require(1236)
    await worker._settlement.settle_soon(settled, Outcome(unit_id="u"))  # noqa: SLF001 the same
    await worker._settlement.settle_stored(settled)  # noqa: SLF001 the same
    await worker._settlement.drain()  # noqa: SLF001 the same
    for _ in range(2):
        worker._meter.add(1234, 1.0)  # noqa: SLF001 the same
        await worker._meter.charge()  # noqa: SLF001 the same
    await worker.stop(grace_seconds=1)

    assert {name: set(actions) for name, actions in roles()["worker"].items()} == listener.asked
    assert not listener.strange
