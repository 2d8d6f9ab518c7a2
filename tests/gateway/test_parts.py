"""A number that waits for a composite shows the composite's progress and cost as its own."""

import asyncio
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient
from msgspec.structs import replace

from common.broker.memory import MemoryBroker
from common.domain import BigInt, Certainty, Curves, Ending, Event, Method, Part, Status
from common.domain.factorizations import begin
from common.lifecycle import new_task
from common.store.sqlite import SqliteStore
from tests.gateway.work import part

Client = TestClient[web.Request, web.Application]

HARD = BigInt((10**33 + 61) * (10**40 + 121))
TRIPLE = BigInt(3 * HARD)


async def submit_and_split(store: SqliteStore) -> str:
    """Store a task for the triple, which is split and waits; return the task's id."""
    task = replace(new_task(TRIPLE, str(TRIPLE), "anonymous", at=1.7e9), joined=True)
    await store.insert_tasks([task])
    pieces = (part(3), Part(value=HARD, certainty=Certainty.COMPOSITE))
    split = replace(begin(TRIPLE, 1.0), version=2, parts=pieces, outstanding={}, outbox=())
    await store.create_factorization(replace(split, cpu_seconds=0.5))
    await store.create_factorization(begin(HARD, 1.0))
    return task.task_id


async def advance(store: SqliteStore, broker: MemoryBroker) -> None:
    """Have a worker try curves on the composite, and tell."""
    known = await store.get_factorization(HARD)
    assert known is not None
    [own] = known.parts
    curves = Curves(HARD, Method.ECM, 2000, 6, 25)
    own = replace(own, certainty=Certainty.COMPOSITE, effort=own.effort.credit(curves, 25))
    after = replace(known.touched(2.0), parts=(own,), cpu_seconds=known.cpu_seconds + 2.0)
    after = replace(after, outstanding={}, outbox=()).with_issued([curves], 2.0)
    assert await store.swap_factorization(after)
    await broker.tell(Event(number=HARD, version=after.version))


async def get(client: Client, path: str) -> dict[str, Any]:
    """Return what is at a path."""
    answer: dict[str, Any] = await (await client.get(path)).json()
    return answer


async def test_its_progress_and_cost_are_those_of_the_composite_too(
    client: Client, store: SqliteStore, broker: MemoryBroker
) -> None:
    """Stage, effort and CPU seconds; the number itself would say that it rests."""
    task_id = await submit_and_split(store)
    await advance(store, broker)
    shown = await get(client, f"/tasks/{task_id}")

    assert [{"prime": "3", "exponent": 1, "certainty": "proven"}] == shown["factors"]
    assert [str(int(HARD))] == [each["value"] for each in shown["composites"]]
    assert "ecm" == shown["progress"]["stage"]
    assert {"ecm B1=2000": 25} == shown["progress"]["effort"]
    assert 2.5 == shown["progress"]["cpu_seconds"]
    assert (await get(client, f"/numbers/{TRIPLE}"))["progress"] == shown["progress"]


async def test_whoever_follows_it_hears_of_the_composite(
    client: Client, store: SqliteStore, broker: MemoryBroker
) -> None:
    """Every version is larger than the one before, also when the composite is no longer waited for."""
    task_id = await submit_and_split(store)
    versions = []
    async with client.ws_connect("/ws", protocols=["factorline.v1"]) as socket:
        await socket.send_json({"type": "subscribe", "task_ids": [task_id]})
        assert "hello" == (await socket.receive_json())["type"]
        versions.append((await socket.receive_json())["task"]["version"])
        for _ in range(2):
            await advance(store, broker)
            async with asyncio.timeout(5):
                update = await socket.receive_json()
            assert "update" == update["type"]
            versions.append(update["task"]["version"])
        triple, composite = (
            await store.get_factorization(TRIPLE),
            await store.get_factorization(HARD),
        )
        assert triple is not None
        assert composite is not None
        ended = replace(
            triple,
            version=triple.version + 1,
            taken_in=composite.version,
            parts=(part(3), part(10**33 + 61), part(10**40 + 121)),
            ended=Ending(status=Status.SUCCEEDED, at=3.0),
        )
        assert await store.swap_factorization(ended)
        await broker.tell(Event(number=TRIPLE, version=ended.version, urgent=True))
        async with asyncio.timeout(5):
            done = await socket.receive_json()
        versions.append(done["task"]["version"])

    assert "done" == done["type"]
    assert sorted({*versions}) == versions
