"""A child process as its worker sees it: it is asked one thing at a time, and answers or dies.

What is said goes as pickles, each after its length, over a pair of sockets. The kernel closes the child's
end when the child dies, whatever it died of and whatever it was about: so nobody has to look every now
and then whether it lives, and nobody waits for an answer that cannot come.
"""

import asyncio
import pickle
import select
import signal
import socket
import struct
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any, cast

import psutil

from factor_worker.slots import forkserver

LENGTH = struct.Struct("!Q")
"""Of a message, in bytes; it stands before it."""
END_SECONDS = 5.0
"""How long the end of a child that is dead or was killed is waited for."""


class ChildDied(Exception):
    """The child ended without an answer."""


def pack(message: object) -> bytes:
    """Return a message as it is sent."""
    packed = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return LENGTH.pack(len(packed)) + packed


class Child(asyncio.Protocol):
    """A running child process and this side's end of the channel to it."""

    def __init__(self, process: BaseProcess, ours: socket.socket) -> None:
        self._process = process
        self._readable = select.poll()
        self._readable.register(ours, select.POLLIN)
        self._transport: asyncio.WriteTransport | None = None
        self._received = bytearray()
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        """Of what it was asked last; at first of how slow the machine is, which it says by itself."""
        self.pid = cast("int", process.pid)
        self.alive = True
        self.slowness = 1.0
        """Of this machine, as the child's code measured it."""

    @classmethod
    async def start(cls, serve: Callable[..., None], *args: object) -> "Child":
        """Start a process that calls ``serve`` with its end of the channel; return when it is ready.

        Raises:
            ChildDied: It ended before it was ready.
            OSError, EOFError: The machine, or the server that forks children, gives no process.

        """
        loop = asyncio.get_running_loop()
        # In a thread: the first child of a fork server waits for it to load what it forks.
        launching = loop.run_in_executor(None, _launch, serve, args)
        try:
            process, ours = await asyncio.shield(launching)
        except asyncio.CancelledError:
            launching.add_done_callback(_discard)
            raise
        _, child = await loop.create_unix_connection(lambda: cls(process, ours), sock=ours)
        try:
            child.slowness = await child.answer
        except asyncio.CancelledError:
            child.kill(ChildDied())
            raise
        return child

    def is_idle(self) -> bool:
        """Return whether it lives and waits to be asked."""
        # asyncio may not have told us yet, and what is asked next is not to be blamed for its death.
        return self.alive and self.answer.done() and not self._readable.poll(0)

    def ask(self, function: Callable[..., Any], args: tuple[object, ...]) -> asyncio.Future[Any]:
        """Have the child call a function; return the future of what it returns or raises.

        It gets `ChildDied`, or what `kill` was given, if there will be no answer. Nothing may be
        asked before the last answer has come.
        """
        self.answer = asyncio.get_running_loop().create_future()
        if self.alive and self._transport is not None:
            self._transport.write(pack((function, args)))
        else:
            self.answer.set_exception(ChildDied())
        return self.answer

    def kill(self, why: Exception) -> None:
        """End the process at once; whoever waits for its answer is told why."""
        self.alive = False
        if not self.answer.done():
            self.answer.set_exception(why)
        if self._transport is not None:
            self._transport.abort()
        self._process.kill()  # a stopped process, or one in native code, would not hear SIGTERM

    async def ended(self) -> str:
        """Wait for the end of a child that is dead or was killed; return what it died of."""
        await asyncio.to_thread(self._process.join, END_SECONDS)
        code = self._process.exitcode
        return signal.Signals(-code).name if code is not None and code < 0 else f"status {code}"

    def resident_bytes(self) -> int:
        """Return how much memory the child takes, without that of programs that it has started."""
        # To look for those is to look at every process of the machine, and the one program that is
        # started (GMP-ECM) is told how much it may take.
        try:
            return int(psutil.Process(self.pid).memory_info().rss)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return 0

    # --- what asyncio calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """Take bytes; once the answer is whole, hand it over."""
        self._received += data
        begin = LENGTH.size
        if len(self._received) < begin:
            return
        if len(self._received) < begin + LENGTH.unpack_from(self._received)[0]:
            return
        succeeded, value = pickle.loads(memoryview(self._received)[begin:])  # noqa: S301 from our own child
        self._received = bytearray()
        if self.answer.done():  # whoever asked has gone
            return
        if succeeded:
            self.answer.set_result(value)
        else:
            self.answer.set_exception(value)

    def connection_lost(self, error: Exception | None) -> None:
        """Notice the child's death."""
        del error
        self.kill(ChildDied())  # it is dead, or no longer makes sense


def _launch(
    serve: Callable[..., None], args: tuple[object, ...]
) -> tuple[BaseProcess, socket.socket]:
    ours, theirs = socket.socketpair()
    with theirs:
        # A daemon: multiprocessing does not wait for its end when this program ends.
        process = forkserver.CONTEXT.Process(target=serve, args=(theirs, *args), daemon=True)
        try:
            process.start()
        except BaseException:
            ours.close()
            raise
    return process, ours


def _discard(launching: "asyncio.Future[tuple[BaseProcess, socket.socket]]") -> None:
    if launching.exception() is None:
        process, ours = launching.result()
        ours.close()
        process.kill()
