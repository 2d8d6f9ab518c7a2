"""Doing the same for many things: a few at a time, or all that have come meanwhile at once."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


async def side_by_side(
    step: Callable[[Item], Awaitable[Result]], items: Iterable[Item], *, at_once: int
) -> list[Result]:
    """Take a step for each item, at most so many at a time; return what they came to, in order.

    The first error is raised at once, and the other steps go on to their ends.
    """
    items = list(items)
    if len(items) == 1:  # as of a client who asks for one number: it needs no task of its own
        return [await step(items[0])]
    running = asyncio.Semaphore(at_once)

    async def one(item: Item) -> Result:
        async with running:
            return await step(item)

    return await asyncio.gather(*map(one, items))


class Together(Generic[Item, Result]):
    """A call that does for many items at once what it costs nearly as much to do for one.

    An item that comes while few calls are under way goes at once; those that come later wait for the end
    of one and go together. If a call fails, so does what waits: nobody waits for two calls that run
    out of time.
    """

    def __init__(
        self,
        call: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        most: int,
        at_once: int,
    ) -> None:
        """Prepare for ``call``, which takes items and returns a result for each, in order.

        It is given at most ``most`` items, and at most ``at_once`` calls are under way.
        """
        self._call = call
        self._most = most
        self._at_once = at_once
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._running: set[asyncio.Task[None] | None] = set()

    async def __call__(self, item: Item) -> Result:
        """Return what the call says of the item."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if len(self._running) < self._at_once:
            self._running.add(asyncio.create_task(self._run()))
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                await self._go(group)
        finally:  # at once: whoever comes next must not count on us
            self._running.discard(asyncio.current_task())

    async def _go(self, group: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._call([item for item, _ in group])
        except Exception as error:  # noqa: BLE001 whatever it is, nobody may wait for ever
            failed, self._waiting = group + self._waiting, []
            for _, future in failed:
                if not future.done():  # else whoever asked has gone
                    future.set_exception(error)
        else:
            for (_, future), result in zip(group, results, strict=True):
                if not future.done():
                    future.set_result(result)
