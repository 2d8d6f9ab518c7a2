"""One WebSocket: the handshake, and the shell around the protocol with its reader, writer and time-outs."""

import asyncio
import contextlib
from collections.abc import Coroutine

from aiohttp import WSMsgType, web

from common import errors
from common.domain import Task
from gateway import metrics
from gateway.access import Access, Doorkeeper, Identity, Limiter
from gateway.context import DOORKEEPER, HUB, LIMITER, SETTINGS
from gateway.hub import Hub, Watcher
from gateway.views import problems
from gateway.views.representation import Views
from gateway.websocket.close_codes import CloseCode
from gateway.websocket.messages import Authenticate
from gateway.websocket.protocol import FRAME_BYTES, HEARTBEAT_SECONDS, Protocol

SUBPROTOCOL = "factorline.v1"
SEND_SECONDS = 30.0
"""A frame that cannot be sent for so long means that the client does not read."""
CLOSE_SECONDS = 2.0
"""How long the client may take to answer a close frame."""
AUTHENTICATE_SECONDS = 5.0
"""How long a client that connects without a key has to show one."""
LONGEST_REASON = 123
"""Bytes that fit into a close frame beside its code (RFC 6455, section 5.5)."""


async def websocket(request: web.Request) -> web.WebSocketResponse:
    """Open the WebSocket ``factorline.v1``. The API key comes with the handshake, or in the first frame."""
    hub, settings, door = request.app[HUB], request.app[SETTINGS], request.app[DOORKEEPER]
    limiter = request.app[LIMITER]
    door.check_origin(request.headers.get("Origin"), host=request.host)
    socket = web.WebSocketResponse(
        protocols=(SUBPROTOCOL,),
        heartbeat=HEARTBEAT_SECONDS,
        compress=False,  # it would cost 90 KiB a socket
        max_msg_size=FRAME_BYTES,
        timeout=CLOSE_SECONDS,
    )
    if not socket.can_prepare(request):
        raise problems.UpgradeRequired
    identity = None
    shown = request.headers.getall("Authorization", ())
    if shown or not door.enabled:
        identity = await door.admit(shown, Access.OWNER)
        socket.headers.update(await limiter.request(identity))
    await socket.prepare(request)
    if len(hub.sockets) >= settings.max_sockets or (identity is None and door.crowded):
        await socket.close(code=CloseCode.TOO_MANY_SOCKETS, message=b"try again later")
        return socket
    await Session(socket, hub, door, limiter, settings.max_subscriptions).run(identity)
    return socket


def _label(code: int | None) -> str:
    """Return a close code as a metric's label. Clients choose codes freely, so unknown ones share a label."""
    return str(code) if code in {1000, 1001, 1006, *CloseCode} else "other"


class Session:
    """One open socket and what it follows. There are thousands of them, so every kilobyte counts."""

    __slots__ = (
        "_authenticated",
        "_closed_by_us",
        "_door",
        "_hub",
        "_identity",
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
        self._authenticated: asyncio.Future[None] | None = None
        """Done once a valid key has come; None if the client needs no key or brought it along."""
        self._wake = asyncio.Event()
        self._watchers: dict[str, Watcher] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed_by_us: CloseCode | None = None
        """The code that we closed with: afterwards aiohttp has only the code of the client's answer."""

    async def run(self, identity: Identity | None) -> None:
        """Read and write until the socket closes. Without an identity the client must show a key first."""
        try:
            quota = self._door.open_socket(identity, self._revoke) if identity else None
        except problems.RequestError as error:
            await self._close(_code_of(error), str(error).encode()[:LONGEST_REASON])
            return
        self._identity = identity
        self._protocol = Protocol(self._max_subscriptions, quota)
        self._hub.sockets.add(self._restart)
        metrics.SOCKETS.inc()
        self._start(self._write())
        if identity is None:
            self._authenticated = asyncio.get_running_loop().create_future()
            self._start(self._expect_key(self._authenticated))
        self._wake.set()
        try:
            async for message in self._socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    self._receive(message.data)
        finally:
            # Await nothing before everything is given back: this may be a cancellation.
            self._hub.sockets.discard(self._restart)
            metrics.SOCKETS.dec()
            code = self._closed_by_us or self._socket.close_code
            metrics.SOCKETS_CLOSED.labels(_label(code)).inc()
            for task in self._tasks:
                task.cancel()
            for watcher in self._watchers.values():
                self._hub.unwatch(watcher)
            self._protocol.end()
            if self._identity is not None:
                self._door.close_socket(self._identity, self._revoke)
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _receive(self, data: str | bytes) -> None:
        asked = self._protocol.receive(data)
        for task_id in asked.unwatch:
            self._unwatch(task_id)
        if asked.key is not None:
            self._start(self._authenticate(asked.key))
        if asked.watch and self._identity is not None:
            self._start(self._subscribe(asked.watch, self._identity))
        self._wake.set()
        if self._protocol.too_much_junk:
            self._start(self._close(CloseCode.TOO_MUCH_JUNK, b"too many invalid frames"))

    async def _expect_key(self, authenticated: asyncio.Future[None]) -> None:
        self._door.unauthenticated += 1
        try:
            async with asyncio.timeout(AUTHENTICATE_SECONDS):
                await authenticated
        except TimeoutError:
            await self._close(CloseCode.NOT_AUTHENTICATED, b"no valid API key came in time")
        finally:
            self._door.unauthenticated -= 1

    async def _authenticate(self, message: Authenticate) -> None:
        try:
            identity = await self._door.identify_secret(message.key)
            await self._limiter.request(identity)
            if self._protocol.authenticated:
                return  # two keys came at once, and the other one was faster
            quota = self._door.open_socket(identity, self._revoke)
        except (problems.RequestError, errors.StoreUnavailable) as error:
            self._protocol.refuse_key(problems.problem_of(error), message)
            self._wake.set()
            if isinstance(error, problems.RequestError):
                await asyncio.sleep(0)  # lets the writer send the reason first
                await self._close(_code_of(error), str(error).encode()[:LONGEST_REASON])
            return
        self._identity = identity
        if self._authenticated is not None and not self._authenticated.done():
            self._authenticated.set_result(None)
        self._protocol.authenticate(quota, message)
        self._wake.set()

    async def _subscribe(self, task_ids: list[str], identity: Identity) -> None:
        """Begin to follow the tasks of one frame, which counts as one request."""
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
            watcher = await self._hub.watch(task_id, owner, self._on_change)
        except (errors.UnknownTask, errors.StoreUnavailable) as error:
            self._protocol.fail(task_id, problems.problem_of(error))
            self._wake.set()
            return
        # Meanwhile it may have ended, or the client has unsubscribed, and perhaps subscribed again.
        if task_id in self._watchers or not self._protocol.follows(task_id):
            self._hub.unwatch(watcher)
        else:
            self._watchers[task_id] = watcher

    def _on_change(self, task: Task, views: Views) -> None:
        if not self._protocol.follows(task.task_id) or not self._protocol.show(views.of(task)):
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
                return  # the reader notices as well

    async def _restart(self) -> None:
        await self._close(CloseCode.SERVICE_RESTART, b"this gateway is stopping: reconnect")

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
    """Return the close code for a key that was refused: whether to come back at all, or later."""
    refused = isinstance(error, problems.Unauthenticated)
    return CloseCode.NOT_AUTHENTICATED if refused else CloseCode.TOO_MANY_SOCKETS
