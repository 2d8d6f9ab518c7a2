"""A WebSocket client that sends what no library would, and reads only when it is told to."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestClient


def frame(
    payload: bytes | str | dict[str, Any],
    *,
    kind: int = WSMsgType.TEXT,
    last: bool = True,
    reserved: int = 0,
) -> bytes:
    """Return a frame of a client, masked with zeros; a dict is sent as JSON."""
    if isinstance(payload, dict):
        payload = json.dumps(payload)
    if isinstance(payload, str):
        payload = payload.encode()
    first, size = (0x80 if last else 0) | reserved | kind, len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((first, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 0x80 | 127)) + size.to_bytes(8, "big")
    return head + bytes(4) + payload


def handshake(host: str) -> bytes:
    """Return the request that opens a WebSocket."""
    return (
        f"GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


class RawSocket:
    """An open WebSocket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def push(self, data: bytes) -> bool:
        """Send as fast as the other side takes it; return whether it took all of it."""
        with contextlib.suppress(ConnectionError):
            for start in range(0, len(data), 1 << 16):
                self.writer.write(data[start : start + (1 << 16)])
                await self.writer.drain()
            return not self.writer.transport.is_closing()
        return False

    async def frame(self) -> tuple[int, bytes]:
        """Return the kind and the payload of the next frame."""
        async with asyncio.timeout(20):
            first, size = await self.reader.readexactly(2)
            if size >= 126:
                size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
            return first & 0x0F, await self.reader.readexactly(size)

    async def text(self) -> bytes:
        """Return the next text, and leave out what else comes."""
        while True:
            kind, payload = await self.frame()
            if kind == WSMsgType.TEXT:
                return payload

    async def close_code(self) -> int | None:
        """Read until the other side closes; return the code that it gives, or None if it gives none."""
        try:
            while True:
                kind, payload = await self.frame()
                if kind == WSMsgType.CLOSE:
                    return int.from_bytes(payload[:2], "big")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None


@contextlib.asynccontextmanager
async def opened(client: TestClient[web.Request, web.Application]) -> AsyncIterator[RawSocket]:
    """Yield a WebSocket to a gateway, without a key."""
    connection = socket.socket()
    # The kernel reads little, too.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
    connection.setblocking(False)  # noqa: FBT003 the standard library's
    await asyncio.get_running_loop().sock_connect(connection, (client.host, client.port))
    reader, writer = await asyncio.open_connection(sock=connection, limit=1 << 16)
    writer.write(handshake(f"{client.host}:{client.port}"))
    answer = await reader.readuntil(b"\r\n\r\n")
    assert b"101" in answer.partition(b"\r\n")[0], answer
    try:
        yield RawSocket(reader, writer)
    finally:
        writer.transport.abort()
