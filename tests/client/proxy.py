"""A TCP proxy on loopback that misbehaves as told: the network between a client and its service."""

import asyncio
import contextlib
import urllib.parse
from types import TracebackType
from typing import Self


class Proxy:
    """Forwards to a service until told otherwise; `requests` counts what came through whole."""

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        self._target = (parts.hostname, parts.port)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.refuses = False
        """New connections are closed at once."""
        self.refuses_sockets = False
        """A request for an upgrade gets 403, as from a proxy that knows no WebSockets."""
        self.answers_to_lose = 0
        """So many requests more reach the service, and their answers are cut off."""

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
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
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """Where clients go."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """Reset every connection there is."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
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
        head = await reader.readuntil(b"\r\n\r\n")
        if self.refuses_sockets and b"upgrade: websocket" in head.lower():
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        there, back = await asyncio.open_connection(*self._target)
        self._writers.add(back)
        try:
            back.write(head)
            if self.answers_to_lose and head.startswith(b"POST"):
                self.answers_to_lose -= 1
                back.write(await reader.readexactly(_length(head)))
                await there.readuntil(b"\r\n\r\n")  # the service has done it, and nobody hears
                return
            pumps = [
                asyncio.create_task(_pump(reader, back)),
                asyncio.create_task(_pump(there, writer)),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            self._writers.discard(back)
            back.close()
            with contextlib.suppress(OSError):
                await back.wait_closed()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(1 << 16):
        sink.write(data)
        await sink.drain()


def _length(head: bytes) -> int:
    lines = head.decode("latin-1").lower().split("\r\n")
    return next(int(line.partition(":")[2]) for line in lines if line.startswith("content-length"))
