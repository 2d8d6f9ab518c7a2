"""Child processes, one a slot: they compute, and can be killed at any moment without harm.

The libraries hold the interpreter's lock for as long as they compute, so a unit can be stopped only
from outside. Children are forked from a server process (`multiprocessing.forkserver`) that has loaded
what they compute with and has no threads. If the worker dies, the server ends, and its children with it.
"""

import asyncio
import contextlib
import ctypes
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

import structlog

from common.domain import Failure, Fault, Solving, Work
from factor_worker.engine import verify
from factor_worker.slots import child, compute, forkserver
from factor_worker.slots.process import Child, ChildDied

log = structlog.stdlib.get_logger(__name__)

MEMORY_POLL_SECONDS = 0.25
STOP_SECONDS = 0.8
"""A child that has not stopped by itself after so long is killed."""
START_PAUSES_SECONDS = (0.0, 1.0, 3.0)
"""Between tries to start a child: a machine that is out of memory or processes may soon have some."""
MOST_TOGETHER = 8
"""Short pieces of work that a child is handed at a time: 20 ms of work each at most."""
GATHER_SECONDS = 0.003
"""Under load others come within so long: to hand over a group costs as much as to hand over one."""
TOGETHER_SECONDS = 5.0
"""In a group that takes longer something is not short after all."""

Result = TypeVar("Result")


class UnitFailed(Exception):
    """A unit gave no result; ``failure`` says why."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(f"{failure.fault}: {failure.detail}")


class UnitStopped(Exception):
    """A unit was stopped because its outcome is no longer wanted here."""


class SlotBroken(Exception):
    """No child process can be started: the fault of this machine or installation, not of a unit."""


class Slot:
    """One child process that computes one unit at a time."""

    def __init__(
        self, limits: child.Limits, *, on_death: Callable[[str], None] = lambda _how: None
    ) -> None:
        self._limits = limits
        self._on_death = on_death
        # Without locks, which a child that is killed could take with it; each is one word or a report.
        self._solving = forkserver.CONTEXT.RawArray(ctypes.c_int64, len(Solving.__struct_fields__))
        """The child's words about a solve unit: the stage's place in `STAGES`, rows, done, of."""
        self._stopping = forkserver.CONTEXT.RawValue(ctypes.c_byte, 0)
        """Asks the child to end its unit by itself: a new one would have to prepare its tables anew."""
        self._child: Child | None = None
        self._answer: asyncio.Future[Any] | None = None

    async def warm(self) -> float:
        """Start the child; return this machine's slowness.

        Raises:
            SlotBroken: None can be started.

        """
        return (await self._living()).slowness

    async def _living(self) -> Child:
        """Return the child, a new one if there is none that lives."""
        if self._child is not None:
            if self._child.is_idle():
                return self._child
            self._child.kill(ChildDied())
            self._child = None
            self._on_death("idle")
        pauses = iter(START_PAUSES_SECONDS)
        while True:
            try:
                self._child = await Child.start(
                    child.serve, self._solving, self._stopping, self._limits
                )
            except (ChildDied, OSError, EOFError) as error:
                if (pause := next(pauses, None)) is None:
                    raise SlotBroken(str(error) or "it died before it was ready") from error
                log.warning("A child process could not be started; trying again", exc_info=True)
            else:
                return self._child
            await asyncio.sleep(pause)

    def solving(self) -> Solving | None:
        """Return how far the solve unit in the child is."""
        stage, rows, done, of = self._solving[:]
        return Solving(child.STAGES[stage], rows, done, of) if of else None

    async def run(self, work: Work, batches: compute.StoredBatches = ()) -> compute.Result:
        """Compute one piece of work in the child, with stored relations if it is to solve them.

        Raises:
            UnitFailed: The child crashed, ran out of time or memory, or raised.
            UnitStopped: `stop` was called.
            SlotBroken: There is no child to compute it.

        """
        return await self._call(self._limits.unit_seconds, child.run, work, batches)

    async def run_all(self, works: Sequence[Work]) -> list[compute.Result | UnitFailed]:
        """Compute some short pieces of work; raise as `run` does if it does not show whose fault it is."""
        seconds = min(self._limits.unit_seconds, TOGETHER_SECONDS)
        results = await self._call(seconds, child.run_all, works)
        return [
            UnitFailed(self._failure_of(result)) if isinstance(result, Exception) else result
            for result in results
        ]

    async def _call(self, seconds: float, function: Callable[..., Result], *args: object) -> Result:
        self._stopping.value = 0
        running = await self._living()
        if self._stopping.value:
            raise UnitStopped
        self._solving[:] = [0] * len(self._solving)
        self._answer = answer = running.ask(function, args)
        late = Failure(Fault.TIMEOUT, f"no result after {seconds:.0f} s")
        timer = asyncio.get_running_loop().call_later(seconds, self._give_up, answer, late)
        try:
            while not answer.done():
                await asyncio.wait({answer}, timeout=MEMORY_POLL_SECONDS)
                if not answer.done() and running.resident_bytes() > self._limits.memory_bytes:
                    self._give_up(answer, self._failure_of(MemoryError()))
            result: Result = answer.result()
        except (UnitFailed, UnitStopped):
            raise
        except ChildDied as error:
            self._on_death(Fault.CRASH.value)
            how = await running.ended()
            raise UnitFailed(Failure(Fault.CRASH, f"the child process died: {how}")) from error
        except Exception as error:
            raise UnitFailed(self._failure_of(error)) from error
        finally:
            timer.cancel()
            if not answer.done():  # whoever asked has gone
                answer.cancel()
                running.kill(UnitStopped())
            if not running.alive:
                self._child = None
        if self._stopping.value:
            raise UnitStopped
        return result

    def _give_up(self, answer: asyncio.Future[Any], failure: Failure | None) -> None:
        """Kill the child in the middle of a unit, unless that has ended; without a fault if asked to."""
        if self._child is None or answer.done():
            return
        if failure is not None:
            self._on_death(failure.fault.value)
        self._child.kill(UnitFailed(failure) if failure else UnitStopped())

    def stop(self) -> None:
        """Have the child end its unit, if it has one; kill it if it does not do so soon."""
        if not self._stopping.value:
            self._stopping.value = 1
            if self._answer is not None:
                loop = asyncio.get_running_loop()
                loop.call_later(STOP_SECONDS, self._give_up, self._answer, None)

    async def close(self) -> None:
        """End the child."""
        if (last := self._child) is not None:
            last.kill(UnitStopped())
            await last.ended()

    def _failure_of(self, error: Exception) -> Failure:
        match error:
            case MemoryError():
                return Failure(Fault.MEMORY, f"more than {self._limits.memory_bytes >> 20} MiB")
            case verify.WrongDecomposition():
                return Failure(Fault.WRONG, str(error))
            case _:
                return Failure(Fault.CRASH, f"{type(error).__name__}: {error}")


class Slots:
    """The free slots of a worker; whoever takes one gives it back."""

    def __init__(
        self,
        count: int,
        limits: child.Limits,
        *,
        on_death: Callable[[str], None] = lambda _how: None,
    ) -> None:
        """``on_death`` is called with ``crash``, ``memory``, ``timeout`` or ``idle``."""
        self._all = [Slot(limits, on_death=on_death) for _ in range(count)]
        self._free: asyncio.LifoQueue[Slot] = asyncio.LifoQueue()
        for slot in self._all:
            self._free.put_nowait(slot)
        self._waiting: deque[tuple[Work, asyncio.Future[compute.Result | Exception | None]]] = (
            deque()
        )
        """What is short, and who waits for it: for its result, an error, or None if its group failed."""
        self._groups: set[asyncio.Task[None]] = set()

    async def warm(self) -> float:
        """Start every child; return this machine's slowness."""
        return max(await asyncio.gather(*(slot.warm() for slot in self._all)))

    @contextlib.asynccontextmanager
    async def take(self) -> AsyncIterator[Slot]:
        """Wait for a free slot and hold it."""
        slot = await self._free.get()
        try:
            yield slot
        finally:
            self._free.put_nowait(slot)

    async def run_together(self, work: Work) -> compute.Result:
        """Compute a short piece of work along with others that wait for a slot; nobody can stop it.

        To hand one over takes as long as some milliseconds of work do, and the child idles meanwhile.
        Raises as `Slot.run` does.
        """
        future: asyncio.Future[compute.Result | Exception | None]
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((work, future))
        if len(self._groups) < len(self._all):
            groups = asyncio.create_task(self._run_groups())
            self._groups.add(groups)
            groups.add_done_callback(self._groups.discard)
        result = await future
        if result is None:  # its group failed; alone it shows whose fault that was
            async with self.take() as slot:
                return await slot.run(work)
        if isinstance(result, Exception):
            raise result
        return result

    async def _run_groups(self) -> None:
        while self._waiting:
            if len(self._waiting) > 1:
                await asyncio.sleep(GATHER_SECONDS)
            async with self.take() as slot:
                share = math.ceil(len(self._waiting) / len(self._all))
                group = [self._waiting.popleft() for _ in range(min(share, MOST_TOGETHER))]
                results: Sequence[compute.Result | Exception | None]
                try:
                    results = await slot.run_all([work for work, _ in group])
                except UnitFailed:
                    results = [None] * len(group)
                except Exception as error:  # noqa: BLE001 whatever it is, nobody may wait for ever
                    results = [error] * len(group)
                for (_, future), result in zip(group, results, strict=True):
                    if not future.done():  # else whoever asked has gone
                        future.set_result(result)

    async def close(self) -> None:
        """End every child."""
        await asyncio.gather(*(slot.close() for slot in self._all))
