"""The shell around the protocol: one aiohttp WebSocket, its reader, its one writer, its time-outs."""

import asyncio
import contextlib
import urllib.parse
from collections.abc import Coroutine

from aiohttp import WSMsgType, web

from common import errors
from common.factorizations import Factorization
from common.tasks import Task
from gateway import metrics, problems
from gateway.keys import HUB, SETTINGS, owner_of
from gateway.websocket.close_codes import CloseCode
from gateway.websocket.hub import Hub, Watcher
from gateway.websocket.protocol import FRAME_BYTES, HEARTBEAT_SECONDS, Protocol

SUBPROTOCOL = "factorline.v1"
SEND_SECONDS = 30.0
"""A frame that cannot be sent for so long means that nobody reads."""
CLOSE_SECONDS = 2.0


async def websocket(request: web.Request) -> web.WebSocketResponse:
    """Serve ``GET /ws``."""
    hub, settings = request.app[HUB], request.app[SETTINGS]
    _check_origin(request)
    socket = web.WebSocketResponse(
        protocols=(SUBPROTOCOL,),
        heartbeat=HEARTBEAT_SECONDS,
        compress=False,  # it would cost 90 KiB a socket
        max_msg_size=FRAME_BYTES,
        timeout=CLOSE_SECONDS,
    )
    await socket.prepare(request)
    if len(hub.closers) >= settings.max_sockets:
        await socket.close(code=CloseCode.TOO_MANY_SOCKETS, message=b"try again later")
        return socket
    await Session(socket, hub, owner_of(request), settings.max_subscriptions).run()
    return socket


def _check_origin(request: web.Request) -> None:
    """Refuse a page of another site: a browser would send its user's credentials along."""
    origin = request.headers.get("Origin")
    if origin is not None and urllib.parse.urlsplit(origin).netloc != request.host:
        raise web.HTTPForbidden(text="WebSockets are for pages of this site: use its own address")


def _label(code: int | None) -> str:
    """Return a close code for the metrics; a client may send any, and has no say in their number."""
    return str(code) if code in {1000, 1001, 1006, *CloseCode} else "other"


class Session:
    """One socket and what it follows."""

    def __init__(
        self, socket: web.WebSocketResponse, hub: Hub, owner: str, max_subscriptions: int
    ) -> None:
        self._socket = socket
        self._hub = hub
        self._owner = owner
        self._protocol = Protocol(max_subscriptions)
        self._wake = asyncio.Event()
        self._watchers: dict[str, Watcher] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed_by_us: CloseCode | None = None
        """The code that we closed with: aiohttp shows the client's answer to it instead."""

    async def run(self) -> None:
        """Read and write until the socket closes."""
        self._hub.closers.add(self._leave)
        metrics.SOCKETS.inc()
        self._start(self._write())
        self._wake.set()
        try:
            async for message in self._socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    self._receive(message.data)
        finally:
            self._hub.closers.discard(self._leave)
            metrics.SOCKETS.dec()
            code = self._closed_by_us or self._socket.close_code
            metrics.SOCKETS_CLOSED.labels(_label(code)).inc()
            for watcher in self._watchers.values():
                self._hub.unwatch(watcher)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _receive(self, data: str | bytes) -> None:
        begin, stop = self._protocol.receive(data)
        for task_id in stop:
            self._unwatch(task_id)
        for task_id in begin:
            self._start(self._watch(task_id))
        self._wake.set()
        if self._protocol.too_much_junk:
            self._start(self._close(CloseCode.TOO_MUCH_JUNK, b"too many frames were no messages"))

    async def _watch(self, task_id: str) -> None:
        try:
            watcher = await self._hub.watch(task_id, self._owner, self._hear)
        except (errors.UnknownTask, errors.StoreUnavailable) as error:
            self._protocol.fail(task_id, problems.problem_of(error))
            self._wake.set()
            return
        self._watchers[task_id] = watcher
        if not self._protocol.follows(task_id):  # it ended, or was given up, meanwhile
            self._unwatch(task_id)

    def _hear(self, task: Task, known: Factorization | None) -> None:
        if not self._protocol.show(self._hub.represent(task, known)):
            self._unwatch(task.task_id)
        self._wake.set()
        if self._protocol.behind:
            self._start(self._close(CloseCode.TOO_SLOW, b"the client does not read"))

    def _unwatch(self, task_id: str) -> None:
        if watcher := self._watchers.pop(task_id, None):
            self._hub.unwatch(watcher)

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                while (frame := self._protocol.next_frame()) is not None:
                    async with asyncio.timeout(SEND_SECONDS):
                        await self._socket.send_str(frame)
            except TimeoutError:
                await self._close(CloseCode.TOO_SLOW, b"the client does not read")
                return
            except ConnectionError:
                return  # the reader sees the end too

    async def _leave(self) -> None:
        await self._close(CloseCode.SERVICE_RESTART, b"this gateway is leaving: come back")

    async def _close(self, code: CloseCode, message: bytes) -> None:
        self._closed_by_us = self._closed_by_us or code
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._socket.close(code=code, message=message)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
