"""The slots of a worker: long units take one each, and short ones share a child in groups.

Theory of operation. Handing a piece of work to a child takes as long as some milliseconds of computing,
and the child idles meanwhile. Most surveys take no longer than that, so they are handed over in groups:

- There are at most as many groups under way as there are slots. A group waits for a free slot first and
  is chosen then, so that it contains whatever has come meanwhile.
- A group takes its share of what waits: the number of waiting works over the number of slots, but no
  more than `GROUP_SIZE`. So a burst uses every core.
- An error in the middle of a group belongs to one work. If the whole group fails, because the child
  crashed or took too long, each of its works is computed again on its own, which shows whose fault it was.

That is why this is no `common.runtime.concurrency.Batcher`, which sends what it has at once, in calls of a
fixed size, and fails everything that waits together with the call that failed.
"""

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence

from common.domain import Work
from factor_worker.slots.child import ChildLimits
from factor_worker.slots.compute import Result
from factor_worker.slots.errors import UnitFailed
from factor_worker.slots.slot import Slot

GROUP_SIZE = 8
"""Most works of one group: each takes 20 ms at most."""
GATHER_SECONDS = 0.003
"""Under load more works come within this time, and a larger group costs no more to hand over."""

_Answer = asyncio.Future[Result | Exception | None]
"""A result, an error, or None if the whole group failed."""


class Pool:
    """The free slots of a worker; whoever takes one gives it back."""

    def __init__(
        self,
        count: int,
        limits: ChildLimits,
        *,
        on_death: Callable[[str], None] = lambda _how: None,
    ) -> None:
        """Create ``count`` slots, see `Slot`."""
        self._slots = [Slot(limits, on_death=on_death) for _ in range(count)]
        self._free: asyncio.LifoQueue[Slot] = asyncio.LifoQueue()
        for slot in self._slots:
            self._free.put_nowait(slot)
        self._waiting: deque[tuple[Work, _Answer]] = deque()
        self._groups: set[asyncio.Task[None]] = set()

    async def start(self) -> float:
        """Start every child; return this machine's slowness.

        Raises:
            SlotBroken: A child cannot be started.

        """
        return max(await asyncio.gather(*(slot.start() for slot in self._slots)))

    @contextlib.asynccontextmanager
    async def take(self) -> AsyncIterator[Slot]:
        """Wait for a free slot and hold it."""
        slot = await self._free.get()
        try:
            yield slot
        finally:
            self._free.put_nowait(slot)

    async def compute_grouped(self, work: Work) -> Result:
        """Compute a short piece of work in a group with others; it cannot be stopped.

        Raises:
            UnitFailed, SlotBroken: As for `Slot.compute`.

        """
        answer: _Answer = asyncio.get_running_loop().create_future()
        self._waiting.append((work, answer))
        if len(self._groups) < len(self._slots):
            groups = asyncio.create_task(self._compute_groups())
            self._groups.add(groups)
            groups.add_done_callback(self._groups.discard)
        result = await answer
        if result is None:
            async with self.take() as slot:
                return await slot.compute(work)
        if isinstance(result, Exception):
            raise result
        return result

    async def _compute_groups(self) -> None:
        """Compute one group after another until no work waits."""
        while self._waiting:
            if len(self._waiting) > 1:
                await asyncio.sleep(GATHER_SECONDS)
            async with self.take() as slot:
                share = math.ceil(len(self._waiting) / len(self._slots))
                group = [self._waiting.popleft() for _ in range(min(share, GROUP_SIZE))]
                results: Sequence[Result | Exception | None]
                try:
                    results = await slot.compute_group([work for work, _ in group])
                except UnitFailed:
                    results = [None] * len(group)
                except Exception as error:  # noqa: BLE001 whatever it is, nobody may wait for ever
                    results = [error] * len(group)
                for (_, answer), result in zip(group, results, strict=True):
                    if not answer.done():  # otherwise its caller was cancelled
                        answer.set_result(result)

    async def close(self) -> None:
        """End every child."""
        await asyncio.gather(*(slot.close() for slot in self._slots))
