"""One WebSocket: the handshake, and the shell around the protocol with its reader, writer and time-outs.

Theory of operation. A client may send whatever it likes, as fast as it can, and read nothing; neither
memory nor the event loop's time may suffer. So

    - frames are read one by one, and each is dealt with before the next one is read. While too many
      frames wait to be sent (`Protocol.crowded`) none is read: aiohttp's queue fills up, it stops reading
      the connection, and TCP makes the client wait;
    - a client that sends more than `FRAMES_PER_SECOND` is read from more slowly;
    - frames are written straight into the transport until its buffer is full. Then a task waits for the
      client to read, `SEND_SECONDS` at most, after which the connection is cut off;
    - a closing handshake has `CLOSE_SECONDS`, after which the connection is cut off, too.

Tasks that a client subscribes to are collected, and one task at a time of the event loop looks all of
them up together, so that a thousand frames in one packet cost a few reads.
"""

import asyncio
from collections.abc import Coroutine

from aiohttp import WSMsgType, web
from aiohttp.abc import AbstractStreamWriter

from common import errors
from common.domain import Task
from gateway import metrics
from gateway.access import Access, Identity
from gateway.context import DOORKEEPER, HUB, LIMITER, SETTINGS
from gateway.hub import Watcher
from gateway.views import problems
from gateway.views.representation import Views
from gateway.websocket.close_codes import CloseCode
from gateway.websocket.messages import Authenticate
from gateway.websocket.protocol import FRAME_BYTES, HEARTBEAT_SECONDS, Protocol, Subscription

SUBPROTOCOL = "factorline.v1"
SEND_SECONDS = 30.0
"""How long a client may take to read what waits for it, 64 KiB at a time."""
CLOSE_SECONDS = 2.0
"""How long the client may take to answer a close frame."""
AUTHENTICATE_SECONDS = 5.0
"""How long a client that connects without a key has to show one."""
LONGEST_REASON = 123
"""Bytes that fit into a close frame beside its code (RFC 6455, section 5.5)."""
FRAMES_PER_SECOND = 100.0
"""How many frames are read from a client in the long run. A frame counts once more for each KiB in it."""
FRAMES_AT_FIRST = 2000
"""How many frames are read from a client that was quiet, as fast as they come."""
FRAMES_AT_ONCE = 50
"""Frames that are read or written for one client before other work of the event loop gets its turn."""


async def websocket(request: web.Request) -> web.WebSocketResponse:
    """Open the WebSocket ``factorline.v1``. The API key comes with the handshake, or in the first frame."""
    hub, settings, door = request.app[HUB], request.app[SETTINGS], request.app[DOORKEEPER]
    limiter = request.app[LIMITER]
    socket = web.WebSocketResponse(
        protocols=(SUBPROTOCOL,),
        heartbeat=HEARTBEAT_SECONDS,
        compress=False,  # it would cost 90 KiB a socket
        autoping=False,  # pings count like frames, and their answers wait like frames
        max_msg_size=FRAME_BYTES,
        timeout=CLOSE_SECONDS,
    )
    if not socket.can_prepare(request):
        raise problems.UpgradeRequired
    identity = None
    shown = request.headers.getall("Authorization", ())
    address = door.address_of(request.remote, request.headers.getall("X-Forwarded-For", ()))
    if shown or not door.enabled:
        identity = await door.admit(shown, Access.OWNER, address=address)
        socket.headers.update(identity.fields)
        socket.headers.update(await limiter.request(identity))
    writer = await socket.prepare(request)
    if len(hub.sockets) >= settings.max_sockets or (identity is None and door.crowded):
        await socket.close(code=CloseCode.TOO_MANY_SOCKETS, message=b"try again later")
        return socket
    session = Session(socket, request, writer, address=address)
    await session.run(identity, settings.max_subscriptions)
    return socket


def _label(code: int | None) -> str:
    """Return a close code as a metric's label. Clients choose codes freely, so unknown ones share a label."""
    return str(code) if code in {1000, 1001, 1006, *CloseCode} else "other"


def framed(payload: bytes, kind: WSMsgType = WSMsgType.TEXT) -> bytes:
    """Return a whole frame from a server, which is not masked (RFC 6455, section 5.2)."""
    first, size = 0x80 | kind, len(payload)
    if size < 126:  # noqa: PLR2004 larger sizes are written in two or eight bytes of their own
        return bytes((first, size)) + payload
    if size < 1 << 16:
        return bytes((first, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload


class Session:
    """One open socket and what it follows. There are thousands of them, so every kilobyte counts."""

    __slots__ = (
        "_address",
        "_closed_by_us",
        "_connection",
        "_door",
        "_fresh",
        "_hub",
        "_identity",
        "_key_timer",
        "_limiter",
        "_looking_up",
        "_paid_until",
        "_pong",
        "_protocol",
        "_socket",
        "_tasks",
        "_watchers",
        "_writer",
        "_writing",
    )

    def __init__(
        self,
        socket: web.WebSocketResponse,
        request: web.Request,
        writer: AbstractStreamWriter,
        *,
        address: str,
    ) -> None:
        self._socket = socket
        self._address = address
        self._connection = request.protocol
        self._writer = writer
        self._hub = request.app[HUB]
        self._door = request.app[DOORKEEPER]
        self._limiter = request.app[LIMITER]
        self._identity: Identity | None = None
        self._key_timer: asyncio.TimerHandle | None = None
        """Closes the socket unless a valid key comes."""
        self._paid_until = 0.0
        """The time at which the frames that were read so far have been paid for (`FRAMES_PER_SECOND`)."""
        self._pong: bytes | None = None
        """The answer to the newest ping of the WebSocket itself; older ones need none (RFC 6455, 5.5.3)."""
        self._watchers: dict[str, Watcher] = {}
        self._fresh: list[Subscription] = []
        """Subscriptions that have not been looked up yet."""
        self._looking_up = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._writing: asyncio.Task[None] | None = None
        """Waits until more can be written."""
        self._closed_by_us: CloseCode | None = None
        """The code that we closed with: afterwards aiohttp has only the code of the client's answer."""

    async def run(self, identity: Identity | None, max_subscriptions: int) -> None:
        """Read and write until the socket closes. Without an identity the client must show a key first."""
        try:
            quota = self._door.open_socket(identity, self._revoke) if identity else None
        except problems.RequestError as error:
            await self._close(_code_of(error), str(error).encode()[:LONGEST_REASON])
            return
        self._identity = identity
        self._protocol = Protocol(max_subscriptions, quota)
        self._hub.sockets.add(self._restart)
        metrics.SOCKETS.inc()
        if identity is None:
            self._expect_key()
        self._write()
        try:
            await self._read()
        finally:
            # Await nothing before everything is given back: this may be a cancellation.
            self._hub.sockets.discard(self._restart)
            metrics.SOCKETS.dec()
            code = self._closed_by_us or self._socket.close_code
            metrics.SOCKETS_CLOSED.labels(_label(code)).inc()
            self._stop_expecting_key()
            for task in self._tasks:
                task.cancel()
            self._protocol.end()
            for watcher in self._watchers.values():
                self._hub.unwatch(watcher)
            if self._identity is not None:
                self._door.close_socket(self._identity, self._revoke)
            asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._cut_off)
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _read(self) -> None:
        read = 0
        async for message in self._socket:
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                await self._slow_down(1 + len(message.data) // 1024)
                await self._receive(message.data)
            else:
                await self._slow_down(1)
                self._protocol.receive_control()
                if message.type is WSMsgType.PING:
                    self._pong = message.data
            self._write()
            if self._protocol.too_much_junk:
                await self._close(CloseCode.TOO_MUCH_JUNK, b"too many invalid frames")
            while self._writing is not None and self._protocol.crowded:
                await asyncio.wait([self._writing])
            read += 1
            if read % FRAMES_AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _slow_down(self, frames: int) -> None:
        """Wait if the client has sent more than it may."""
        now = asyncio.get_running_loop().time()
        saved = FRAMES_AT_FIRST / FRAMES_PER_SECOND
        self._paid_until = max(self._paid_until, now - saved) + frames / FRAMES_PER_SECOND
        if self._paid_until > now:
            await asyncio.sleep(self._paid_until - now)

    async def _receive(self, data: str | bytes) -> None:
        asked = self._protocol.receive(data)
        for subscription in asked.unwatch:
            self._unwatch(subscription.task_id)
        if asked.key is not None:
            await self._authenticate(asked.key)
        if asked.watch and self._identity is not None:
            await self._subscribe(asked.watch, self._identity)

    def _expect_key(self) -> None:
        self._door.unauthenticated += 1
        loop = asyncio.get_running_loop()
        self._key_timer = loop.call_later(AUTHENTICATE_SECONDS, self._no_key_came)

    def _stop_expecting_key(self) -> None:
        if self._key_timer is not None:
            self._key_timer.cancel()
            self._key_timer = None
            self._door.unauthenticated -= 1

    def _no_key_came(self) -> None:
        self._start(self._close(CloseCode.NOT_AUTHENTICATED, b"no valid API key came in time"))

    async def _authenticate(self, message: Authenticate) -> None:
        try:
            identity = await self._door.identify_secret(message.key, address=self._address)
            await self._limiter.request(identity)
            quota = self._door.open_socket(identity, self._revoke)
        except (problems.RequestError, errors.StoreUnavailable) as error:
            self._protocol.refuse_key(problems.problem_of(error), message)
            self._write()
            if isinstance(error, problems.RequestError):
                await self._close(_code_of(error), str(error).encode()[:LONGEST_REASON])
            return
        self._identity = identity
        self._stop_expecting_key()
        self._protocol.authenticate(quota, message)

    async def _subscribe(self, subscriptions: list[Subscription], identity: Identity) -> None:
        """Begin to follow the tasks of one frame, which counts as one request."""
        try:
            await self._limiter.request(identity)
        except (problems.RequestError, errors.StoreUnavailable) as error:
            problem = problems.problem_of(error)
            for subscription in subscriptions:
                self._protocol.fail(subscription, problem)
            return
        self._fresh += subscriptions
        if not self._looking_up:
            self._looking_up = True
            self._start(self._look_up(identity.owner))

    async def _look_up(self, owner: str) -> None:
        """Watch fresh subscriptions together until there is none."""
        try:
            while self._fresh:
                fresh, self._fresh = self._fresh, []
                asked = {each.task_id: each for each in fresh if self._protocol.follows(each)}
                found = await self._hub.watch_all(asked, owner, self._on_change)
                for subscription, watcher in zip(asked.values(), found, strict=True):
                    self._begin(subscription, watcher)
                self._write()
        finally:
            self._looking_up = False

    def _begin(self, subscription: Subscription, watcher: Watcher | errors.FactorlineError) -> None:
        if isinstance(watcher, errors.FactorlineError):
            self._protocol.fail(subscription, problems.problem_of(watcher))
        elif self._protocol.follows(subscription):
            self._watchers[subscription.task_id] = watcher
        else:  # meanwhile it has ended, or the client has unsubscribed
            self._hub.unwatch(watcher)

    def _on_change(self, task: Task, views: Views) -> None:
        if not self._protocol.show(views.of(task)):
            self._unwatch(task.task_id)
        self._write()

    def _unwatch(self, task_id: str) -> None:
        if watcher := self._watchers.pop(task_id, None):
            self._hub.unwatch(watcher)

    def _write(self) -> None:
        """Write what waits, as far as the client reads."""
        connection = self._connection
        if self._writing is not None:
            return
        for _ in range(FRAMES_AT_ONCE):
            transport = connection.transport
            if transport is None or transport.is_closing() or self._socket.closed:
                return
            if connection.writing_paused:
                break
            frame = self._next_frame()
            if frame is None:
                return
            transport.write(frame)
        self._writing = self._start(self._write_on())

    def _next_frame(self) -> bytes | None:
        if self._pong is not None:
            pong, self._pong = self._pong, None
            return framed(pong, WSMsgType.PONG)
        text = self._protocol.next_frame()
        return None if text is None else framed(text)

    async def _write_on(self) -> None:
        """Wait until the client has read enough, and write more."""
        await asyncio.sleep(0)
        timer = asyncio.get_running_loop().call_later(SEND_SECONDS, self._too_slow)
        try:
            await self._writer.drain()
        except ConnectionError:
            return  # the reader notices as well
        finally:
            timer.cancel()
            self._writing = None
        self._write()

    def _too_slow(self) -> None:
        self._closed_by_us = self._closed_by_us or CloseCode.TOO_SLOW
        self._cut_off()

    def _cut_off(self) -> None:
        """End the connection at once, together with what waits in its buffer."""
        if self._connection.transport is not None:
            self._connection.transport.abort()

    async def _restart(self) -> None:
        await self._close(CloseCode.SERVICE_RESTART, b"this gateway is stopping: reconnect")

    async def _revoke(self) -> None:
        await self._close(CloseCode.KEY_REVOKED, b"the API key was revoked or has expired")

    async def _close(self, code: CloseCode, message: bytes) -> None:
        self._closed_by_us = self._closed_by_us or code
        # Not asyncio.timeout: it would cancel the future in which others wait for the client to read.
        timer = asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._cut_off)
        try:
            await self._socket.close(code=code, message=message)
        except ConnectionError:
            pass  # it is closed already
        finally:
            timer.cancel()

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _code_of(error: problems.RequestError) -> CloseCode:
    """Return the close code for a key that was refused: whether to come back at all, or later."""
    refused = isinstance(error, problems.Unauthenticated)
    return CloseCode.NOT_AUTHENTICATED if refused else CloseCode.TOO_MANY_SOCKETS
