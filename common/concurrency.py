"""Doing the same for many things, a few at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


async def side_by_side(
    step: Callable[[Item], Awaitable[Result]], items: Iterable[Item], *, at_once: int
) -> list[Result]:
    """Take a step for each item, at most so many at a time; return what they came to, in order.

    The first error is raised at once, and the other steps go on to their ends.
    """
    running = asyncio.Semaphore(at_once)

    async def one(item: Item) -> Result:
        async with running:
            return await step(item)

    return await asyncio.gather(*map(one, items))
