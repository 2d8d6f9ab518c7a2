"""A TCP proxy on loopback that misbehaves as told: the network between a program and what it needs.

It passes, delays, stalls both ways or one, resets, refuses, and cuts after so many bytes. `HttpProxy`
knows where a request and an answer end, for faults between the two.
"""

import asyncio
import contextlib
import enum
import urllib.parse
from types import TracebackType
from typing import Self

CHUNK = 1 << 16


class Way(enum.Enum):
    """The two directions of a connection."""

    THERE = enum.auto()
    """From the client to the service."""
    BACK = enum.auto()


class Proxy:
    """Forwards to a loopback port until told otherwise; what it is told holds for old and new links."""

    def __init__(self, port: int, host: str | None = "127.0.0.1") -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stalled: set[Way] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._left: dict[Way, int] = {}
        self.connections = 0
        """Accepted so far."""
        self.refuses = False
        """New connections are closed at once."""
        self.delay_seconds = 0.0
        """Every piece of data waits for so long, in either direction."""
        self.held_bytes = 0
        """Bytes that a stall or a cut has kept from arriving so far: the proof that it was felt."""

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Close everything."""
        assert self._server is not None
        self._server.close()
        self.heal()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def port(self) -> int:
        """Where clients go."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def open_links(self) -> int:
        """Connections through the proxy now."""
        return len(self._tasks)

    def retarget(self, port: int) -> None:
        """Forward new connections to another port, as a balancer does whose first choice died."""
        self._target = (self._target[0], port)

    def cut(self) -> None:
        """Reset every connection there is."""
        for writer in self._writers:
            writer.transport.abort()

    def stall(self, *ways: Way) -> None:
        """Let nothing more through, both ways or the given ones; connections stay open."""
        self._stalled = set(ways or Way)
        self._flows.clear()

    def cut_after(self, way: Way, count: int) -> None:
        """Reset all connections as soon as so many bytes more have gone this way."""
        self._left[way] = count

    def heal(self) -> None:
        """Pass everything again, what was held back first."""
        self.refuses, self.delay_seconds = False, 0.0
        self._stalled, self._left = set(), {}
        self._flows.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # No coroutine function: asyncio would print a traceback for each of its tasks that is cancelled.
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if not self.refuses:
                await self._converse(reader, writer)
        self._writers.discard(writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self._target)
        await self._join(reader, writer, there, back)

    async def _join(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:
        """Pump between a client and the service until either is gone."""
        self._writers.add(back)
        pumps = [
            asyncio.create_task(self._pump(Way.THERE, reader, back)),
            asyncio.create_task(self._pump(Way.BACK, there, writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._writers.discard(back)
            back.close()
            with contextlib.suppress(OSError):
                await back.wait_closed()

    async def _pump(
        self, way: Way, source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        while data := await source.read(CHUNK):
            if self.delay_seconds:
                await asyncio.sleep(self.delay_seconds)
            if way in self._stalled:
                self.held_bytes += len(data)
                while way in self._stalled:
                    await self._flows.wait()
                    await asyncio.sleep(0)
            if way in self._left:
                passed = data[: self._left[way]]
                self._left[way] -= len(passed)
                sink.write(passed)
                if len(passed) < len(data):
                    self.held_bytes += len(data) - len(passed)
                    del self._left[way]
                    with contextlib.suppress(OSError):
                        await sink.drain()
                    self.cut()
                    return
                continue
            sink.write(data)
            await sink.drain()


class HttpProxy(Proxy):
    """A proxy in front of a web service."""

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        assert parts.port is not None
        super().__init__(parts.port, parts.hostname)
        self.refuses_sockets = False
        """A request for an upgrade gets 403, as from a proxy that knows no WebSockets."""
        self.answers_to_lose = 0
        """So many requests more reach the service, and their answers are cut off."""

    @property
    def url(self) -> str:
        """Where clients go."""
        return f"http://127.0.0.1:{self.port}"

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if self.refuses_sockets and b"upgrade: websocket" in head.lower():
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        there, back = await asyncio.open_connection(*self._target)
        back.write(head)
        if not (self.answers_to_lose and head.startswith(b"POST")):
            await self._join(reader, writer, there, back)
            return
        self.answers_to_lose -= 1
        with contextlib.closing(back):
            back.write(await reader.readexactly(_length(head)))
            await there.readuntil(b"\r\n\r\n")  # the service has done it, and nobody hears


def _length(head: bytes) -> int:
    lines = head.decode("latin-1").lower().split("\r\n")
    return next(int(line.partition(":")[2]) for line in lines if line.startswith("content-length"))
