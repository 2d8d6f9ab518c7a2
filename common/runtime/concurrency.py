"""Doing one thing for many items: a few at a time, or combined into fewer, larger calls."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


async def gather_limited(
    step: Callable[[Item], Awaitable[Result]], items: Iterable[Item], *, limit: int
) -> list[Result]:
    """Await ``step(item)`` for every item, at most ``limit`` at a time; return the results in order.

    The first error is raised at once; the other steps run on to their end.
    """
    items = list(items)
    if (
        len(items) == 1
    ):  # the common case, a client who asks for one number, needs no task of its own
        return [await step(items[0])]
    running = asyncio.Semaphore(limit)

    async def one(item: Item) -> Result:
        async with running:
            return await step(item)

    return await asyncio.gather(*map(one, items))


class Batcher(Generic[Item, Result]):
    """Combine concurrent calls into fewer, larger ones.

    While fewer than ``max_calls`` calls are in flight an item is sent at once; after that items queue,
    and the next free call takes up to ``max_items`` of them. If a call fails, every item in it and
    every item in the queue fails with the same error: nobody waits for two calls that time out. Only an
    error of the type ``alone`` may be the fault of one item: then each item of the call is sent alone.

        find = Batcher(find_many, max_items=32, max_calls=4)
        task = await find(task_id)
    """

    def __init__(
        self,
        call: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        max_items: int,
        max_calls: int,
        alone: type[Exception] | tuple[()] = (),
    ) -> None:
        """Wrap ``call``, which takes items and returns one result for each, in order."""
        self._call = call
        self._max_items = max_items
        self._max_calls = max_calls
        self._alone = alone
        self._queue: list[tuple[Item, asyncio.Future[Result]]] = []
        self._running: set[asyncio.Task[None] | None] = set()

    async def __call__(self, item: Item) -> Result:
        """Return the result for one item."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._queue.append((item, future))
        if len(self._running) < self._max_calls:
            self._running.add(asyncio.create_task(self._run()))
        return await future

    async def _run(self) -> None:
        try:
            while self._queue:
                batch = self._queue[: self._max_items]
                self._queue = self._queue[self._max_items :]
                await self._send(batch)
        finally:  # before anything else runs: the next item must not count on this call
            self._running.discard(asyncio.current_task())

    async def _send(self, batch: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._call([item for item, _ in batch])
        except self._alone as error:
            if len(batch) == 1:
                _fail(batch, error)
            else:
                for one in batch:
                    await self._send([one])
        except Exception as error:  # noqa: BLE001 whatever it is, nobody may wait for ever
            failed, self._queue = batch + self._queue, []
            _fail(failed, error)
        else:
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():
                    future.set_result(result)


def _fail(items: Sequence[tuple[object, asyncio.Future[Any]]], error: Exception) -> None:
    for _, future in items:
        if not future.done():  # otherwise its caller was cancelled
            future.set_exception(error)
