"""The shell around the protocol: one aiohttp WebSocket, its reader, its one writer, its time-outs."""

import asyncio
import contextlib
from collections.abc import Coroutine

from aiohttp import WSMsgType, web

from common import errors
from common.domain import Factorization, Task
from gateway import metrics
from gateway.access import limits
from gateway.access.doorkeeper import DOORKEEPER, IDENTITY, Access, Doorkeeper, Identity, admit
from gateway.access.limits import LIMITER, Limiter
from gateway.context import HUB, SETTINGS
from gateway.hub import Hub, Watcher
from gateway.views import problems, representation
from gateway.websocket.close_codes import CloseCode
from gateway.websocket.messages import Authenticate
from gateway.websocket.protocol import FRAME_BYTES, HEARTBEAT_SECONDS, Protocol

SUBPROTOCOL = "factorline.v1"
SEND_SECONDS = 30.0
"""A frame that cannot be sent for so long means that nobody reads."""
CLOSE_SECONDS = 2.0
AUTHENTICATE_SECONDS = 5.0
"""A client that has not shown a good key by then is sent away."""
LONGEST_REASON = 123
"""Bytes of a close frame's reason."""


async def websocket(request: web.Request) -> web.WebSocketResponse:
    """Serve ``GET /ws``; a key comes with the handshake, or as the first frame."""
    hub, settings, door = request.app[HUB], request.app[SETTINGS], request.app[DOORKEEPER]
    door.check_origin(request)
    identity = None
    if not door.enabled or "Authorization" in request.headers:
        await admit(request, Access.OWNER)
        identity = request[IDENTITY]
        limits.tell(request, await request.app[LIMITER].request(identity))
    socket = web.WebSocketResponse(
        protocols=(SUBPROTOCOL,),
        heartbeat=HEARTBEAT_SECONDS,
        compress=False,  # it would cost 90 KiB a socket
        max_msg_size=FRAME_BYTES,
        timeout=CLOSE_SECONDS,
    )
    await socket.prepare(request)
    if len(hub.closers) >= settings.max_sockets or (identity is None and door.crowded):
        await socket.close(code=CloseCode.TOO_MANY_SOCKETS, message=b"try again later")
        return socket
    session = Session(socket, hub, door, request.app[LIMITER], settings.max_subscriptions)
    await session.run(identity)
    return socket


def _label(code: int | None) -> str:
    """Return a close code for the metrics; a client may send any, and has no say in their number."""
    return str(code) if code in {1000, 1001, 1006, *CloseCode} else "other"


class Session:
    """One socket and what it follows. There are thousands, so that every kilobyte counts."""

    __slots__ = (
        "_closed_by_us",
        "_door",
        "_hub",
        "_identity",
        "_let_in",
        "_limiter",
        "_max_subscriptions",
        "_protocol",
        "_socket",
        "_tasks",
        "_wake",
        "_watchers",
    )

    def __init__(
        self,
        socket: web.WebSocketResponse,
        hub: Hub,
        door: Doorkeeper,
        limiter: Limiter,
        max_subscriptions: int,
    ) -> None:
        self._socket = socket
        self._hub = hub
        self._door = door
        self._limiter = limiter
        self._max_subscriptions = max_subscriptions
        self._identity: Identity | None = None
        self._let_in: asyncio.Future[None] | None = None
        """Ends when a key has let the client in, if it came without one."""
        self._wake = asyncio.Event()
        self._watchers: dict[str, Watcher] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed_by_us: CloseCode | None = None
        """The code that we closed with: aiohttp shows the client's answer to it instead."""

    async def run(self, identity: Identity | None) -> None:
        """Read and write until the socket closes; without an identity, a key has to come first."""
        try:
            places = self._door.open_socket(identity, self._revoke) if identity else None
        except problems.RequestError as error:
            await self._close(_code_of(error), str(error).encode()[:LONGEST_REASON])
            return
        self._identity = identity
        self._protocol = Protocol(self._max_subscriptions, places)
        self._hub.closers.add(self._leave)
        metrics.SOCKETS.inc()
        self._start(self._write())
        if identity is None:
            self._let_in = asyncio.get_running_loop().create_future()
            self._start(self._expect_key(self._let_in))
        self._wake.set()
        try:
            async for message in self._socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    self._receive(message.data)
        finally:
            # Nothing may be awaited before all is given back: this may be a cancellation.
            self._hub.closers.discard(self._leave)
            metrics.SOCKETS.dec()
            code = self._closed_by_us or self._socket.close_code
            metrics.SOCKETS_CLOSED.labels(_label(code)).inc()
            for task in self._tasks:
                task.cancel()
            for watcher in self._watchers.values():
                self._hub.unwatch(watcher)
            self._protocol.leave()
            if self._identity is not None:
                self._door.close_socket(self._identity, self._revoke)
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _receive(self, data: str | bytes) -> None:
        heard = self._protocol.receive(data)
        for task_id in heard.stop:
            self._unwatch(task_id)
        if heard.key is not None:
            self._start(self._authenticate(heard.key))
        if heard.begin and self._identity is not None:
            self._start(self._subscribe(heard.begin, self._identity))
        self._wake.set()
        if self._protocol.too_much_junk:
            self._start(self._close(CloseCode.TOO_MUCH_JUNK, b"too many frames were no messages"))

    async def _expect_key(self, let_in: asyncio.Future[None]) -> None:
        self._door.strangers += 1
        try:
            async with asyncio.timeout(AUTHENTICATE_SECONDS):
                await let_in
        except TimeoutError:
            await self._close(CloseCode.NOT_AUTHENTICATED, b"no good key came in time")
        finally:
            self._door.strangers -= 1

    async def _authenticate(self, message: Authenticate) -> None:
        try:
            identity = await self._door.identify_secret(message.key)
            await self._limiter.request(identity)
            if self._protocol.authenticated:
                return  # two keys at once: the first one counts
            places = self._door.open_socket(identity, self._revoke)
        except (problems.RequestError, errors.StoreUnavailable) as error:
            self._protocol.refuse_key(problems.problem_of(error), message)
            self._wake.set()
            if isinstance(error, problems.RequestError):
                await asyncio.sleep(0)  # the writer sends the reason first
                await self._close(_code_of(error), str(error).encode()[:LONGEST_REASON])
            return
        self._identity = identity
        if self._let_in is not None and not self._let_in.done():
            self._let_in.set_result(None)
        self._protocol.authenticate(places, message)
        self._wake.set()

    async def _subscribe(self, task_ids: list[str], identity: Identity) -> None:
        """Begin to follow tasks; a frame counts as a request."""
        try:
            await self._limiter.request(identity)
        except (problems.RequestError, errors.StoreUnavailable) as error:
            for task_id in task_ids:
                self._protocol.fail(task_id, problems.problem_of(error))
            self._wake.set()
            return
        for task_id in task_ids:
            self._start(self._watch(task_id, identity.owner))

    async def _watch(self, task_id: str, owner: str) -> None:
        try:
            watcher = await self._hub.watch(task_id, owner, self._hear)
        except (errors.UnknownTask, errors.StoreUnavailable) as error:
            self._protocol.fail(task_id, problems.problem_of(error))
            self._wake.set()
            return
        self._watchers[task_id] = watcher
        if not self._protocol.follows(task_id):  # it ended, or was given up, meanwhile
            self._unwatch(task_id)

    def _hear(self, task: Task, known: Factorization | None) -> None:
        if not self._protocol.show(representation.view(task, known)):
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

    async def _revoke(self) -> None:
        await self._close(CloseCode.KEY_REVOKED, b"the API key was revoked")

    async def _close(self, code: CloseCode, message: bytes) -> None:
        self._closed_by_us = self._closed_by_us or code
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._socket.close(code=code, message=message)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _code_of(error: problems.RequestError) -> CloseCode:
    """Return what a client should do about a key that lets nobody in."""
    unknown = isinstance(error, problems.Unauthenticated)
    return CloseCode.NOT_AUTHENTICATED if unknown else CloseCode.TOO_MANY_SOCKETS
