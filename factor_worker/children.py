"""Child processes, one a slot: they compute, and can be killed at any moment without harm.

The libraries hold the interpreter's lock for as long as they compute, so a unit can be stopped only
from outside. A pool of one child a slot (pebble) restarts a child that died. Children are forked from
a server process (`multiprocessing.forkserver`) that has loaded what they compute with and has no
threads. If the worker dies, the server ends, and its children with it.
"""

import asyncio
import concurrent.futures
import contextlib
import ctypes
import math
import os
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import pebble
import psutil
import structlog

from common.factorizations import Solving
from common.units import Failure, Fault, Work
from factor_worker import child, compute, processes
from factor_worker.engine import verify

log = structlog.stdlib.get_logger(__name__)

pebble.CONSTS.sleep_unit = 0.3
"""A pool has two threads that wake up so often, all day long, to see whether a child has died."""
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
        self._pid = processes.CONTEXT.RawValue(ctypes.c_int, 0)
        self._solving = processes.CONTEXT.RawArray(ctypes.c_int64, len(Solving.__struct_fields__))
        """The child's words about a solve unit: the stage's place in `STAGES`, rows, done, of."""
        self._stopping = processes.CONTEXT.RawValue(ctypes.c_byte, 0)
        """Asks the child to end its unit by itself: a new one would have to prepare its tables anew."""
        self._pool = self._new_pool()
        self._future: concurrent.futures.Future[Any] | None = None

    def _new_pool(self) -> pebble.ProcessPool:
        return pebble.ProcessPool(
            max_workers=1,
            context=processes.CONTEXT,
            initializer=child.prepare,
            initargs=(self._pid, self._solving, self._stopping, self._limits),
        )

    async def warm(self) -> float:
        """Start the child; return this machine's slowness."""
        # In a thread: the first child of a fork server waits for it to load what it forks.
        return await asyncio.wrap_future(
            await asyncio.to_thread(self._pool.schedule, child.slowness)
        )

    def _child_is_gone(self) -> bool:
        """Whether the child died; an idle one may have died with the lock of pebble's pipe."""
        if self._pid.value == 0 or not self._pool.active:
            return not self._pool.active
        try:
            os.kill(self._pid.value, 0)
        except OSError:  # the fork server has waited for it, and its id may be anybody's
            return True
        return False

    def _child(self) -> psutil.Process:
        """Return the child, which has said its pid."""
        return psutil.Process(self._pid.value)

    async def _begin_anew(self) -> None:
        self._pid.value = 0
        old, self._pool = self._pool, self._new_pool()
        await asyncio.to_thread(_end, old)
        await self.warm()

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
        pauses = iter(START_PAUSES_SECONDS)
        while True:
            try:
                return await self._call_once(seconds, function, *args)
            except BrokenProcessPool as error:
                if (pause := next(pauses, None)) is None:
                    raise SlotBroken(str(error)) from error
                log.warning("A child process could not be started; trying again", exc_info=True)
            await asyncio.sleep(pause)

    async def _call_once(
        self, seconds: float, function: Callable[..., Result], *args: object
    ) -> Result:
        if self._child_is_gone():
            self._on_death("idle")
            await self._begin_anew()
        self._solving[:] = [0] * len(self._solving)
        self._stopping.value = 0
        self._future = self._pool.schedule(function, args=args, timeout=seconds)
        memory = asyncio.create_task(self._watch_memory())
        try:
            result: Result = await asyncio.wrap_future(self._future)
        except (asyncio.CancelledError, concurrent.futures.CancelledError) as error:
            if not self._future.cancelled():
                raise
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            raise UnitStopped from error
        except BrokenProcessPool:
            raise
        except Exception as error:
            outgrown = memory.done() and not memory.cancelled()
            failure = self._failure_of(error, outgrown=outgrown)
            if isinstance(error, pebble.ProcessExpired | TimeoutError):
                self._on_death(failure.fault.value)
            raise UnitFailed(failure) from error
        finally:
            memory.cancel()
            self._future.cancel()
        if self._stopping.value:
            raise UnitStopped
        return result

    def stop(self) -> None:
        """Have the child end its unit, if it has one; kill it if it does not do so soon."""
        if self._future is not None and not self._stopping.value:
            self._stopping.value = 1
            asyncio.get_running_loop().call_later(STOP_SECONDS, self._kill, self._future)

    def _kill(self, future: "concurrent.futures.Future[Any]") -> None:
        """Kill the child in the middle of a unit, unless that has ended."""
        if not future.cancel():
            return
        with contextlib.suppress(ProcessLookupError):
            if pid := self._pid.value:
                os.kill(pid, signal.SIGKILL)  # pebble's SIGTERM does not reach a stopped process

    def close(self) -> None:
        """End the child."""
        if self._future is not None:
            self._kill(self._future)
        _end(self._pool)

    async def _watch_memory(self) -> bool:
        """Kill the child once it and its own children outgrow the limit; return whether it was."""
        while True:
            await asyncio.sleep(MEMORY_POLL_SECONDS)
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                # Not its own children: to look for them is to look at every process of the machine,
                # and the one program that is started (GMP-ECM) is told how much it may take.
                if self._child().memory_info().rss > self._limits.memory_bytes:
                    self._child().kill()
                    return True

    def _failure_of(self, error: Exception, *, outgrown: bool = False) -> Failure:
        if isinstance(error, MemoryError) or outgrown:
            return Failure(Fault.MEMORY, f"more than {self._limits.memory_bytes >> 20} MiB")
        match error:
            case TimeoutError():
                detail = f"no result after {self._limits.unit_seconds:.0f} s"
                return Failure(Fault.TIMEOUT, detail)
            case verify.WrongDecomposition():
                return Failure(Fault.WRONG, str(error))
            case pebble.ProcessExpired(exitcode=int(code)):
                how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
                return Failure(Fault.CRASH, f"the child process died: {how}")
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
        await asyncio.gather(*(asyncio.to_thread(slot.close) for slot in self._all))


def _end(pool: pebble.ProcessPool) -> None:
    pool.stop()
    pool.join()
