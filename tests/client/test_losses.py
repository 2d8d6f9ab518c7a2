"""Watches survive cut connections, killed services and networks without WebSockets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from factorline import Client
from infra.local.programs import Embedded
from tests import waiting
from tests.client.conftest import hard_number
from tests.proxy import HttpProxy

if TYPE_CHECKING:
    from factorline.models import Task

RETRY_SECONDS = 60.0


class Watching:
    """A watch in the background, with the states that it has yielded."""

    def __init__(self, client: Client, *task_ids: str) -> None:
        self.states: list[Task] = []
        self._client = client
        self._ids = task_ids
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        async for state in self._client.watch(*self._ids):
            self.states.append(state)

    async def started(self) -> None:
        """Return when the first state of each task has arrived."""
        await waiting.until(
            lambda: {state.task_id for state in self.states} == set(self._ids), "the first states"
        )

    async def finished(self) -> list[tuple[str, str]]:
        """Return the tasks that were reported as done, with their statuses, when the watch ends by itself."""
        async with asyncio.timeout(60):
            await self._task
        return [(state.task_id, state.status) for state in self.states if state.done]

    async def stop(self) -> None:
        """Cancel the watch."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


@pytest.fixture
async def proxy(url: str) -> AsyncIterator[HttpProxy]:
    """Yield a proxy in front of the shared service."""
    async with HttpProxy(url) as proxy:
        yield proxy


@pytest.fixture
async def through(proxy: HttpProxy) -> AsyncIterator[Client]:
    """Yield a client that goes through the proxy."""
    async with Client(proxy.url, retry_for_s=RETRY_SECONDS) as client:
        yield client


async def test_a_task_that_ends_during_an_outage_is_reported_once(
    proxy: HttpProxy, through: Client, client: Client, hard: str
) -> None:
    """The first snapshot after the outage has its final state."""
    task_id = (await client.submit(hard)).task_id
    watching = Watching(through, task_id)
    await watching.started()
    proxy.refuses = True
    proxy.cut()
    refused = proxy.connections
    await client.cancel(task_id)
    await waiting.until(lambda: proxy.connections > refused + 1, "tries in vain")
    proxy.refuses = False

    assert [(task_id, "cancelled")] == await watching.finished()


async def test_cuts_at_any_moment(
    proxy: HttpProxy, through: Client, client: Client, hard: str
) -> None:
    """Twenty tasks end while the connection is cut again and again: each is reported once."""
    ids = [(await client.submit(f"{hard}*{n}")).task_id for n in range(1, 21)]
    watching = Watching(through, *ids)
    await watching.started()
    for task_id in ids:
        await client.cancel(task_id)
        proxy.cut()
        await asyncio.sleep(0)

    assert sorted((task_id, "cancelled") for task_id in ids) == sorted(await watching.finished())


async def test_without_websockets_it_polls(
    proxy: HttpProxy, through: Client, client: Client, hard: str
) -> None:
    """A proxy that refuses upgrades makes the watch slower, but it still gets every answer."""
    proxy.refuses_sockets = True
    alone = (await client.submit(hard)).task_id
    ids = [(await client.submit(f"{hard}*{n}")).task_id for n in (2, 3)]
    one, many = Watching(through, alone), Watching(through, *ids)
    await asyncio.gather(one.started(), many.started())
    for task_id in (alone, *ids):
        await client.cancel(task_id)

    assert [(alone, "cancelled")] == await one.finished()
    assert sorted((task_id, "cancelled") for task_id in ids) == sorted(await many.finished())


async def test_a_service_that_is_killed_and_restarted(service: Embedded) -> None:
    """After SIGKILL and a restart in the same folder, tasks and watch go on; each task is reported once."""
    async with Client(service.url, retry_for_s=RETRY_SECONDS) as client:
        task_id = (await client.submit(hard_number("kill"))).task_id
        quick_id = (await client.submit("2^200-1")).task_id
        watching = Watching(client, task_id, quick_id)
        await watching.started()
        service.kill_group()
        await service.start()
        assert "cancelled" == (await client.cancel(task_id)).status

        assert {task_id: "cancelled", quick_id: "succeeded"} == dict(await watching.finished())
        assert 2 == len([state for state in watching.states if state.done])


async def test_a_service_that_is_stopped_and_restarted(service: Embedded) -> None:
    """SIGTERM closes the socket with 1012, and the client reconnects by itself."""
    async with Client(service.url, retry_for_s=RETRY_SECONDS) as client:
        task_id = (await client.submit(hard_number("leave"))).task_id
        watching = Watching(client, task_id)
        await watching.started()
        await service.stop()
        await service.start()
        await client.cancel(task_id)

        assert [(task_id, "cancelled")] == await watching.finished()


async def test_a_service_that_stays_away_is_an_error(service: Embedded) -> None:
    """The watch raises an error when the outage is longer than allowed."""
    async with Client(service.url, retry_for_s=0.2, outage_s=0.2) as client:
        task_id = (await client.submit(hard_number("away"))).task_id
        watching = Watching(client, task_id)
        await watching.started()
        service.kill_group()

        with pytest.raises(Exception, match="No answer from"):
            await watching.finished()
