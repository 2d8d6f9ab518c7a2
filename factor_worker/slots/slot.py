"""A slot: one child process that computes one unit at a time and can be killed at any moment.

Theory of operation. The engine's libraries hold the interpreter's lock while they compute, so a unit
can be stopped, timed out, or held to a memory limit only from outside its process. A slot therefore owns
one child process and treats it as expendable:

    start    The fork server (`forkserver`), which has loaded every kernel (`preload`), forks a child
             within milliseconds.
    compute  The slot sends works through a pair of sockets (`process`). The child computes them
             (`child`, `compute`) and sends back a result or an error for each. The slot believes only what
             can be an answer to the question (`messages`), and kills a child that says anything else.
    watch    Meanwhile a timer enforces the wall-clock limit, and the slot looks at the child's memory
             and CPU seconds every quarter of a second. A child that exceeds either limit is killed.
    stop     The slot sets a flag in shared memory. A sieve unit looks at it between polynomials and
             ends early, which keeps the child and its tables. A child that is still busy 0.8 s later
             is killed.
    replace  When the child has died, for whatever reason, the next unit gets a new one.

Each call ends in exactly one way, and that says who is to blame: a result, `UnitFailed` (the unit),
`UnitStopped` (nobody), or `SlotBroken` (this machine). A child that died while it was idle is replaced
before the next unit begins, so that no unit is blamed for it.

Nothing outlives the worker. When it dies, the fork server notices a closed pipe and ends, and the kernel
kills the server's children.
"""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from typing import cast

import structlog
from msgspec.structs import replace

from common.domain import Fault, Solving, Work
from common.runtime.backoff import Backoff
from factor_worker.slots import child, messages
from factor_worker.slots.child import ChildLimits, Shared
from factor_worker.slots.compute import Result, StoredBatches
from factor_worker.slots.errors import (
    AnswerRefused,
    ChildDied,
    SlotBroken,
    SlotError,
    UnitFailed,
    UnitStopped,
)
from factor_worker.slots.process import Child

log = structlog.stdlib.get_logger(__name__)

MEMORY_POLL_SECONDS = 0.25
STOP_SECONDS = 0.8
"""A child that is still busy this long after it was asked to stop is killed."""
START_ATTEMPTS = 4
START_PAUSE_SECONDS = (1.0, 4.0)
"""Bounds of the first and of the longest pause between attempts to start a child.

A machine that has run out of memory or processes may soon have some again.
"""
GROUP_SECONDS = 5.0
"""A group that takes longer contains something that is not short after all."""


class Slot:
    """One child process that computes one unit at a time."""

    def __init__(
        self, limits: ChildLimits, *, on_death: Callable[[str], None] = lambda _how: None
    ) -> None:
        """Create a slot without a child.

        Args:
            limits: What the child may take.
            on_death: Called with ``crash``, ``memory``, ``timeout``, ``wrong`` or ``idle`` when a child dies
                that nobody has stopped.

        """
        self._limits = limits
        self._on_death = on_death
        self._shared_descriptor = Shared.make()
        self._shared = Shared(os.dup(self._shared_descriptor))
        self._child: Child | None = None
        self._answer: asyncio.Future[list[object]] | None = None
        self._cpu_before = self._cpu_seconds = 0.0
        """The child's CPU seconds when the call began, and when they were last looked at."""

    async def start(self) -> float:
        """Start the child; return this machine's slowness.

        Raises:
            SlotBroken: No child can be started.

        """
        return (await self._live_child()).slowness

    async def _live_child(self) -> Child:
        """Return the child, a new one if there is none alive."""
        if self._child is not None:
            if self._child.is_idle():
                return self._child
            self._child.kill(ChildDied())
            self._child = None
            self._on_death("idle")
        self._child = await self._start_child()
        return self._child

    async def _start_child(self) -> Child:
        first, longest = START_PAUSE_SECONDS
        backoff = Backoff(first=first, longest=longest)
        attempts_left = START_ATTEMPTS
        while True:
            try:
                return await Child.start(self._shared_descriptor, self._limits)
            except (ChildDied, AnswerRefused, OSError, EOFError) as error:
                attempts_left -= 1
                if not attempts_left:
                    raise SlotBroken(cause=error) from error
                log.warning("Child process could not be started, trying again", exc_info=True)
            await backoff.pause()

    def progress(self) -> Solving | None:
        """Return the progress of the solve unit in the child, or None if it has reported none."""
        stage, rows, done, of = self._shared.progress
        if not (0 <= stage < len(child.STAGES) and min(rows, done) >= 0 and of > 0):
            return None  # none yet, or none that makes sense
        return Solving(child.STAGES[stage], rows, done, of)

    async def compute(self, work: Work, batches: StoredBatches = ()) -> Result:
        """Compute one piece of work in the child.

        Args:
            work: What to compute.
            batches: The stored relations, for a `Solve`.

        Raises:
            UnitFailed: The child crashed, exceeded its time or memory, raised an error, or gave no answer
                that can be true.
            UnitStopped: `stop` was called.
            SlotBroken: No child can be started to compute it.

        """
        question = messages.Question((work,), tuple(batches))
        [answer] = await self._ask(self._limits.unit_seconds, question)
        if isinstance(answer, UnitFailed):
            raise answer
        return answer

    async def compute_group(self, works: Sequence[Work]) -> list[Result | UnitFailed]:
        """Compute several short pieces of work; return a result or an error for each, in order.

        Raises:
            UnitFailed: The group as a whole failed, and it is unknown which of them is to blame.
            UnitStopped, SlotBroken: As for `compute`.

        """
        seconds = min(self._limits.unit_seconds, GROUP_SECONDS)
        return await self._ask(seconds, messages.Question(tuple(works)))

    async def _ask(self, seconds: float, question: messages.Question) -> list[Result | UnitFailed]:
        self._shared.stopping = False
        running = await self._live_child()
        if self._shared.stopping:  # while the child was started
            raise UnitStopped
        self._cpu_before = self._cpu_seconds = running.cpu_seconds()
        try:
            return await self._ask_child(running, seconds, question)
        except SlotError as error:
            error.cpu_seconds = max(self._cpu_seconds, running.cpu_seconds()) - self._cpu_before
            raise

    async def _ask_child(
        self, running: Child, seconds: float, question: messages.Question
    ) -> list[Result | UnitFailed]:
        self._shared.progress = [0] * len(self._shared.progress)
        self._answer = answer = running.ask(question)
        began = time.monotonic()
        late = UnitFailed.timed_out(seconds=seconds)
        timer = asyncio.get_running_loop().call_later(seconds, self._kill_busy, answer, late)
        try:
            await self._watch_memory(running, answer)
            answers = cast("list[messages.Answer]", answer.result())
        except ChildDied as error:
            self._on_death(Fault.CRASH.value)
            raise UnitFailed.crashed(cause=await running.cause_of_death()) from error
        except AnswerRefused as error:
            self._on_death(Fault.WRONG.value)
            raise UnitFailed.refused(why=error.why) from error
        finally:
            timer.cancel()
            if not answer.done():  # the caller was cancelled
                answer.cancel()
                running.kill(UnitStopped())
            if not running.alive:
                self._child = None
        if self._shared.stopping:
            raise UnitStopped
        longest = time.monotonic() - began
        return [_believed(one, longest) for one in answers]

    async def _watch_memory(self, running: Child, answer: asyncio.Future[list[object]]) -> None:
        """Wait for an answer, and kill the child if it outgrows its memory limit meanwhile."""
        limit = self._limits.memory_bytes
        while not answer.done():
            await asyncio.wait({answer}, timeout=MEMORY_POLL_SECONDS)
            if answer.done():
                return
            self._cpu_seconds = running.cpu_seconds()  # in case it crashes
            if running.resident_bytes() > limit:
                self._kill_busy(answer, UnitFailed.out_of_memory(limit_bytes=limit))

    def _kill_busy(
        self, answer: asyncio.Future[list[object]], why: UnitFailed | UnitStopped
    ) -> None:
        """Kill the child in the middle of a unit, unless the unit has ended."""
        if self._child is None or answer.done():
            return
        if isinstance(why, UnitFailed):
            self._on_death(why.failure.fault.value)
        self._cpu_seconds = self._child.cpu_seconds(programs=True)
        self._child.kill(why)

    def stop(self) -> None:
        """Have the child end its unit, if it has one; kill the child if it takes too long."""
        if not self._shared.stopping:
            self._shared.stopping = True
            if self._answer is not None:
                loop = asyncio.get_running_loop()
                loop.call_later(STOP_SECONDS, self._kill_busy, self._answer, UnitStopped())

    async def close(self) -> None:
        """End the child."""
        if (last := self._child) is not None:
            last.kill(UnitStopped())
            await last.cause_of_death()

    def __del__(self) -> None:
        """Let go of the shared memory."""
        os.close(self._shared_descriptor)


def _believed(answer: messages.Answer, longest: float) -> Result | UnitFailed:
    """Return what a child has answered; it cannot have computed for longer than it took."""
    cpu_seconds = min(answer.cpu_seconds, longest)
    if isinstance(answer, Result):
        return replace(answer, cpu_seconds=cpu_seconds)
    failed = UnitFailed(answer.failure)
    failed.cpu_seconds = cpu_seconds
    return failed
