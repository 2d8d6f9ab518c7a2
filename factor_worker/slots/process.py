"""A child process as its worker sees it: it is asked one thing at a time, and it answers or dies.

They talk over a pair of sockets, see `factor_worker.slots.messages`. The kernel closes the child's end when
the child dies, whatever the cause. So nobody has to poll whether it is alive, and nobody waits for an answer
that cannot come. A child that says anything but the answer to its question is killed.
"""

import asyncio
import select
import signal
import socket
import subprocess
from typing import cast

import psutil
import structlog

from factor_worker.slots import forkserver, messages
from factor_worker.slots.child import ChildLimits
from factor_worker.slots.errors import AnswerRefused, ChildDied

log = structlog.stdlib.get_logger(__name__)

JOIN_SECONDS = 5.0
"""How long to wait for the end of a child that has died or was killed."""


class Child(asyncio.Protocol):
    """A running child process and the worker's end of the channel to it."""

    def __init__(self, process: forkserver.Process, ours: socket.socket) -> None:
        self._process = process
        self._readable = select.poll()
        self._readable.register(ours, select.POLLIN)
        self._transport: asyncio.WriteTransport | None = None
        self._inbox = messages.Inbox()
        self.answer: asyncio.Future[list[object]] = asyncio.get_running_loop().create_future()
        """To the last question. A new child reports the slowness of the machine without being asked."""
        self.pid = process.pid
        self._observed: psutil.Process | None = None
        self.alive = True
        self.slowness = 1.0
        """Of this machine, as the child's code measured it."""

    @classmethod
    async def start(cls, shared: int, limits: ChildLimits) -> "Child":
        """Start a child process; return when it is ready to be asked.

        Args:
            shared: The descriptor of the memory that it shares with its worker.
            limits: What it may take.

        Raises:
            ChildDied, AnswerRefused: It ended before it was ready, or was not what it should be.
            OSError, EOFError: The machine, or the fork server, gives us no process.

        """
        loop = asyncio.get_running_loop()
        # In a thread: the first child of a fork server waits until the server has loaded.
        launching = loop.run_in_executor(None, _launch, shared, limits)
        try:
            process, ours = await asyncio.shield(launching)
        except asyncio.CancelledError:
            launching.add_done_callback(_discard)
            raise
        _, child = await loop.create_unix_connection(lambda: cls(process, ours), sock=ours)
        try:
            [greeting] = cast("list[messages.Greeting]", await child.answer)
        except asyncio.CancelledError:
            child.kill(ChildDied())
            raise
        child.slowness = greeting.slowness
        return child

    def is_idle(self) -> bool:
        """Return whether it is alive and has nothing to do."""
        # The socket is asked too: asyncio may not have told us yet that the child has died, and the next
        # question must not be blamed for it.
        return self.alive and self.answer.done() and not self._readable.poll(0)

    def ask(self, question: messages.Question) -> asyncio.Future[list[object]]:
        """Send a question; return the future of its answers, one `messages.Answer` for each work.

        If there will be no answer, the future gets `ChildDied`, `AnswerRefused`, or what `kill` was given.
        Nothing may be asked before the last answer has come.
        """
        self.answer = asyncio.get_running_loop().create_future()
        self._inbox.expect(question.works)
        if self.alive and self._transport is not None:
            self._transport.write(messages.frame(question))
        else:
            self.answer.set_exception(ChildDied())
        return self.answer

    def kill(self, why: Exception) -> None:
        """End the process at once; whoever waits for its answer gets this error."""
        self.alive = False
        if not self.answer.done():
            self.answer.set_exception(why)
        if self._transport is not None:
            self._transport.abort()
        self._process.kill()

    async def cause_of_death(self) -> str:
        """Wait for the end of a child that has died or was killed; return its signal or its status."""
        try:
            code = await asyncio.to_thread(self._process.wait, JOIN_SECONDS)
        except subprocess.TimeoutExpired:
            return "not known yet"
        return signal.Signals(-code).name if code < 0 else f"status {code}"

    def cpu_seconds(self, *, programs: bool = False) -> float:
        """Return the CPU seconds of the child and of the programs that it has run; 0 if it is gone.

        Args:
            programs: Whether to count those that it runs now, too: every process is looked at for that.

        """
        try:
            self._observed = self._observed or psutil.Process(self.pid)
            running = self._observed.children(recursive=True) if programs else []
            times = [each.cpu_times() for each in (self._observed, *running)]
        except psutil.Error:
            return 0.0
        ended = times[0].children_user + times[0].children_system
        return float(ended + sum(each.user + each.system for each in times))

    def resident_bytes(self) -> int:
        """Return how much memory the child takes, programs that it has started not included."""
        # Finding those means looking at every process of the machine, and the only one that is ever
        # started, GMP-ECM, is told how much it may take.
        try:
            return int(psutil.Process(self.pid).memory_info().rss)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return 0

    # --- what asyncio calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """Collect bytes; once all answers are complete, hand them over."""
        if not self.alive:
            return
        try:
            answers = self._inbox.receive(data)
        except messages.NotBelieved as error:
            log.error(  # noqa: TRY400 the trace would show our own code
                "Child process killed, because it gave no valid answer",
                pid=self.pid,
                why=str(error),
            )
            self.kill(AnswerRefused(why=str(error)))
            return
        if answers is not None and not self.answer.done():
            self.answer.set_result(answers)

    def connection_lost(self, error: Exception | None) -> None:
        """Notice that the child has died."""
        del error
        self.kill(ChildDied())  # in case it only closed its end


def _launch(shared: int, limits: ChildLimits) -> tuple[forkserver.Process, socket.socket]:
    ours, theirs = socket.socketpair()
    try:
        return forkserver.launch(theirs, shared, limits), ours
    except BaseException:
        ours.close()
        raise


def _discard(launching: "asyncio.Future[tuple[forkserver.Process, socket.socket]]") -> None:
    if launching.exception() is None:
        process, ours = launching.result()
        ours.close()
        process.kill()
