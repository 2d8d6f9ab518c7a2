"""Doing the same for many things."""

import asyncio
from collections.abc import Sequence

import pytest

from common.runtime.concurrency import Batcher, gather_limited


class Server:
    """Doubles numbers, many at a time, as soon as it is told to."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.go = asyncio.Event()
        self.broken = False

    async def double(self, items: Sequence[int]) -> list[int]:
        """Return twice each item; fail if the server is broken."""
        self.calls.append(list(items))
        await self.go.wait()
        if self.broken:
            raise ConnectionError
        return [2 * item for item in items]


async def test_what_comes_during_a_call_goes_together() -> None:
    """The first goes at once, and each hears of its own."""
    server = Server()
    double = Batcher(server.double, max_items=3, max_calls=1)
    asking = [asyncio.create_task(double(item)) for item in range(6)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first = list(server.calls)
    asking += [asyncio.create_task(double(item)) for item in (6, 7)]
    server.go.set()

    assert [0, 2, 4, 6, 8, 10, 12, 14] == await asyncio.gather(*asking)
    assert [[0, 1, 2]] == first
    assert [[0, 1, 2], [3, 4, 5], [6, 7]] == server.calls
    assert 16 == await double(8)


async def test_a_few_calls_are_under_way_at_once() -> None:
    """So that one that takes long holds up only what comes when there are many."""
    server = Server()
    double = Batcher(server.double, max_items=3, max_calls=2)
    asking = []
    for item in range(5):
        asking.append(asyncio.create_task(double(item)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    begun = list(server.calls)
    server.go.set()

    assert [0, 2, 4, 6, 8] == await asyncio.gather(*asking)
    assert [[0], [1]] == begun
    assert [[0], [1], [2, 3, 4]] == server.calls


async def test_nobody_waits_behind_a_call_that_failed() -> None:
    """All hear of it at once; the next one is tried again."""
    server = Server()
    server.broken = True
    double = Batcher(server.double, max_items=1, max_calls=1)
    asking = [asyncio.create_task(double(item)) for item in range(3)]
    await asyncio.sleep(0)
    server.go.set()
    ended = await asyncio.gather(*asking, return_exceptions=True)
    server.broken = False

    assert all(isinstance(error, ConnectionError) for error in ended)
    assert [[0]] == server.calls
    assert 6 == await double(3)


async def test_whoever_gives_up_harms_nobody() -> None:
    """Neither while its item waits nor while it is under way."""
    server = Server()
    double = Batcher(server.double, max_items=1, max_calls=1)
    asking = [asyncio.create_task(double(item)) for item in range(3)]
    await asyncio.sleep(0)
    asking[0].cancel()
    asking[1].cancel()
    server.go.set()
    ended = await asyncio.gather(*asking, return_exceptions=True)

    assert [asyncio.CancelledError, asyncio.CancelledError, int] == [type(one) for one in ended]
    assert 4 == ended[2]


@pytest.mark.parametrize("count", [0, 1, 2, 5])
async def test_gather_limited_keeps_the_order(count: int) -> None:
    """However long each takes."""

    async def step(item: int) -> int:
        await asyncio.sleep(0.01 * (count - item))
        return 2 * item

    assert [2 * item for item in range(count)] == await gather_limited(step, range(count), limit=2)
