"""Rows about the embedded mode: one process, no servers, and whatever is in its memory gone when it dies."""

import asyncio
import contextlib
import uuid

import aiohttp

from infra.local.processes import free_ports
from infra.local.programs import Embedded
from tests import waiting
from tests.chaos.checker import Told
from tests.chaos.laboratory import Json, Laboratory
from tests.chaos.row import row

BATCH = 1000
BACKLOG = 100_000
LONG = aiohttp.ClientTimeout(total=600)


async def _post(lab: Laboratory, session: aiohttp.ClientSession) -> None:
    """Post a batch with the same key again and again until it is answered."""
    attempts = [lab.journal.attempt(lab.number()) for _ in range(BATCH)]
    body = {"numbers": [str(attempt.number) for attempt in attempts]}
    headers = {"Idempotency-Key": f'"{uuid.uuid4()}"'}
    while attempts[0].told is Told.UNKNOWN:
        with contextlib.suppress(aiohttp.ClientError, OSError):
            async with session.post("/tasks/batch", json=body, headers=headers) as response:
                if response.status == 200:
                    items = (await response.json())["items"]
                    for attempt, item in zip(attempts, items, strict=True):
                        attempt.told, attempt.task_id = Told.ACCEPTED, item["task"]["task_id"]
        await asyncio.sleep(0)


async def _end(lab: Laboratory, session: aiohttp.ClientSession, task_id: str | None) -> Json:
    """Return a task's representation once it has ended."""
    view: Json = {"done": False}

    async def done() -> bool:
        with contextlib.suppress(aiohttp.ClientError, OSError):
            async with session.get(f"/tasks/{task_id}", params={"wait": "20"}) as response:
                view.update(await response.json())
        return bool(view["done"])

    await waiting.until(done, f"the end of {task_id}", seconds=1800)
    lab.journal.saw(view)
    return view


@row("backlog of 100 000 tasks in the embedded mode, killed three times", traffic=0, soak=False)
async def backlog(lab: Laboratory) -> None:
    """Kill -9 while they are accepted, while they are worked off, and once more towards the end."""
    [port] = free_ports(1)
    folder = lab.folder / "embedded"
    async with (
        Embedded(folder, port=port, settings={}) as service,
        aiohttp.ClientSession(service.url, timeout=LONG) as session,
    ):

        async def killed() -> None:
            service.kill_group()
            await service.start()

        for turn in range(BACKLOG // BATCH):
            posting = asyncio.create_task(_post(lab, session))
            if turn == BACKLOG // BATCH // 3:
                await asyncio.sleep(0.05)  # in the middle of a batch
                assert not posting.done()
                await killed()
            await posting
        attempts = list(lab.journal.attempts.values())
        for share in (0.5, 0.9, 1.0):
            await _end(lab, session, attempts[int(share * (BACKLOG - 1))].task_id)
            if share < 1:
                await killed()
        lab.found_elsewhere += [
            view if view["done"] else await _end(lab, session, view["task_id"])
            for view in await lab.drain(session)
        ]
