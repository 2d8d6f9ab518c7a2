"""Guards the connections of a gateway: none can be held for nothing, and none keeps a newcomer out.

    runner = Runner(app, shutdown_timeout=5.0)

Theory of operation. A connection is either *served*, while a handler answers its request, or *waiting* for
its client: to send a request, to send the rest of a body, to read an answer. A client can make no connection
wait for long (`HEADER_SECONDS`, `BODY_SECONDS`, `IDLE_SECONDS`), nor make many wait at once: one address may
have `UNFINISHED_PER_ADDRESS` from which a request, or the rest of one, is still to come, and all together as
many as there are file descriptors. The next connection is accepted nevertheless, and the one that has waited
longest is closed for it. Only if every connection is being served is the next one refused.

A connection whose last request is answered does not count for its address: a proxy keeps many of those, and
is about to use them. What is served is bounded elsewhere: WebSockets and long polls for each key, and every
other request by its deadline.
"""

import asyncio
import contextlib
import ipaddress
import resource
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from http import HTTPStatus
from typing import Any, cast

import structlog
from aiohttp import http_exceptions, web

from common.runtime.settings import Settings
from gateway import metrics
from gateway.context import SETTINGS
from gateway.http import responses
from gateway.views import problems

log = structlog.stdlib.get_logger(__name__)

HEADER_SECONDS = 10.0
"""How long a new connection, or a request that has begun, may take until its header is complete."""
BODY_SECONDS = 60.0
"""How long a body may take: of 1 MiB, 18 KB a second are enough."""
IDLE_SECONDS = 75.0
"""How long a connection is kept for the next request, or for a client that reads its answer slowly."""
UNFINISHED_PER_ADDRESS = 256
"""Connections of one address with a request that is still to come, or to come to its end.

Of IPv6 the first 64 bits are an address."""
GRACE_SECONDS = 1.0
"""A connection that has waited for less is not closed for its address: many may come at once, each with a
request that is not read yet."""
BACKLOG = 512
"""Connections that the kernel accepts while the event loop is busy. A client that finds no room tries again
after a second."""
SPARE_DESCRIPTORS = 256 + BACKLOG
"""File descriptors that are not for clients: store, broker, children, and the backlog, taken in at once."""
LEAST_CONNECTIONS = 256
"""However few descriptors there are."""
SWEEP_SECONDS = 1.0
"""How often connections are looked at that have waited too long."""
LOG_SECONDS = 10.0
"""The log says at most this often that connections were closed, and how many."""
LINE_BYTES = 8190
"""The longest request line, and the longest header field."""
HEADER_FIELDS = 128
HEADER_BYTES = 64 << 10
"""The most bytes that may come before a header is complete, give or take what comes at once (256 KiB)."""
SPARE_BYTES = 256 << 10
"""The most bytes that may come with a body besides the body itself, such as the sizes of its chunks."""

HANDLER_ARGS: dict[str, Any] = {
    "auto_decompress": False,  # a kilobyte must not become a megabyte before anybody looks at it
    # A body that nobody wants is dropped for this long, or the client might see a reset and not the answer.
    "lingering_time": 1.0,
    "keepalive_timeout": IDLE_SECONDS,
    "max_line_size": LINE_BYTES,
    "max_field_size": LINE_BYTES,
    "max_headers": HEADER_FIELDS,
    "access_log": None,
}


def connection_limit(settings: Settings) -> int:
    """Return how many connections this process can have open, as its file descriptors allow.

    A warning says so if they are too few for the WebSockets that the settings allow.
    """
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = max(descriptors - SPARE_DESCRIPTORS, LEAST_CONNECTIONS)
    if descriptors == resource.RLIM_INFINITY:
        return 1 << 20
    if limit < settings.max_sockets:
        log.warning(
            "The limit of open files allows fewer connections than FACTORLINE_MAX_SOCKETS",
            open_files=descriptors,
            connections=limit,
            max_sockets=settings.max_sockets,
        )
    return limit


class Connection(web.RequestHandler):
    """One client's connection."""

    __slots__ = (
        "_allowance",
        "_transport",
        "address",
        "begun",
        "deadline",
        "guard",
        "on_lost",
        "served",
    )

    def __init__(self, manager: web.Server, guard: "Guard", **handler_args: Any) -> None:
        super().__init__(manager, **handler_args)
        self.guard = guard
        self.begun = False
        """Whether a part of a request has come while the connection was waiting."""
        self.served = False
        """Whether a handler answers its request."""
        self._allowance = HEADER_BYTES
        """How many more bytes may come until a header is complete, or a body that follows one."""
        self._transport: asyncio.Transport | None = None
        self.address = ""
        self.deadline = 0.0
        """The loop time at which it has waited too long. It has no meaning while it is served."""
        self.on_lost: Callable[[], object] | None = None
        """Called when the client is gone."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection in, or refuse it."""
        super().connection_made(transport)
        self._transport = cast("asyncio.Transport", transport)
        self.address = _network(transport.get_extra_info("peername"))
        self.guard.admit(self)

    def data_received(self, data: bytes) -> None:
        """Take what came; the first bytes of a request start its clock."""
        if not self.begun and data:
            self.begun = True
            self.guard.begins(self)
        complete = self._request_count
        super().data_received(data)
        if self._request_count != complete:
            self._allowance = self.guard.body_bytes + SPARE_BYTES
        elif not self._upgraded:
            self._allowance -= len(data)
            if self._allowance < 0:
                self.guard.floods(self)

    def resume_writing(self) -> None:
        """Note that the client has read a part of its answer."""
        super().resume_writing()
        self.guard.reads(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection."""
        super().connection_lost(exc)
        self.guard.forget(self)
        if self.on_lost is not None:
            self.on_lost()

    def rested(self, *, whole: bool) -> None:
        """Note that its request is answered, which had come as a whole or not."""
        self.begun = self.served = False
        if whole and not self._messages:
            self._allowance = HEADER_BYTES

    def close_unserved(self, problem: Exception | None) -> None:
        """Close it at once, with an answer if the client has begun a request."""
        transport = self._transport
        if problem is not None and self.begun and transport is not None:
            transport.write(_raw(responses.of_error(problem)))
        elif transport is not None:
            transport.abort()
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the problem for what is not HTTP, or for an error that no middleware has met."""
        if not isinstance(exc, http_exceptions.HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        response = responses.of_error(_problem_of(exc))
        response.force_close()
        return response


def _problem_of(error: http_exceptions.HttpProcessingError) -> problems.RequestError:
    """Return what is wrong with bytes that are not a request."""
    match error:
        case http_exceptions.LineTooLong():
            return problems.HeaderTooLarge(limit=LINE_BYTES, fields=HEADER_FIELDS)
        case http_exceptions.BadHttpMethod():
            return problems.NotHttp(
                "The request line does not begin with a method. If the client speaks TLS: this "
                "address speaks plain HTTP"
            )
        case http_exceptions.InvalidURLError():
            return problems.NotHttp("The address in the request line is not valid")
        case http_exceptions.InvalidHeader():
            return problems.NotHttp("A header field is not valid")
    if "too many headers" in error.message.lower():
        return problems.HeaderTooLarge(limit=LINE_BYTES, fields=HEADER_FIELDS)
    return problems.NotHttp("The request is not valid HTTP/1.1")


def _raw(response: web.Response) -> bytes:
    """Return an answer as it goes over a connection on which nobody asked for anything yet."""
    body = response.body
    assert isinstance(body, bytes)  # noqa: S101 problems are
    fields = {**response.headers, "Content-Length": str(len(body)), "Connection": "close"}
    lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    head = "\r\n".join([*lines, "", ""])
    return head.encode() + body


def _network(peername: object) -> str:
    """Return what counts as one address: an IPv4 address, or the network that a household gets of IPv6."""
    if not isinstance(peername, tuple):
        return "local"
    try:
        address = ipaddress.ip_address(str(peername[0]).partition("%")[0])
    except ValueError:
        return str(peername[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


class Guard:
    """All connections of a gateway, and which of them wait for their client."""

    def __init__(self, limit: int, body_bytes: int) -> None:
        self.body_bytes = body_bytes
        """The most bytes that a body may have."""
        self._limit = limit
        self._open: set[Connection] = set()
        # Dictionaries keep the order: the first one has waited longest.
        self._waiting: dict[Connection, None] = {}
        self._unfinished: dict[str, dict[Connection, float]] = {}
        """By address, with the time since when they wait."""
        self._now = asyncio.get_running_loop().time
        self._untold: Counter[str] = Counter()
        self._told_at = -LOG_SECONDS
        self._sweeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to close connections that have waited too long."""
        self._sweeping = asyncio.create_task(self._sweep_forever())

    async def stop(self) -> None:
        """Stop closing them."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)

    def admit(self, connection: Connection) -> None:
        """Take in a new connection; close another one, or this one, if there are too many."""
        self._open.add(connection)
        metrics.CONNECTIONS.inc()
        if len(self._open) > self._limit:
            if not self._waiting:
                connection.begun = True  # it is told why
                self._close(connection, "full", problems.TooManyConnections())
                return
            self._close(next(iter(self._waiting)), "room")
        self._waits(connection, HEADER_SECONDS)
        self._is_unfinished(connection)

    def forget(self, connection: Connection) -> None:
        """Drop a connection that is lost."""
        self._leave(connection)
        if connection in self._open:
            self._open.discard(connection)
            metrics.CONNECTIONS.dec()

    def begins(self, connection: Connection) -> None:
        """Note that a waiting connection has sent the first bytes of a request."""
        if connection in self._waiting:
            soon = self._now() + HEADER_SECONDS
            connection.deadline = min(connection.deadline, soon)
            self._is_unfinished(connection)

    def reads(self, connection: Connection) -> None:
        """Note that the client of an answered request has read a part of the answer."""
        if connection in self._waiting:
            connection.deadline = self._now() + IDLE_SECONDS

    def floods(self, connection: Connection) -> None:
        """Close a connection that sends more than any request has."""
        error = problems.HeaderTooLarge(limit=LINE_BYTES, fields=HEADER_FIELDS)
        self._close(connection, "flood", None if connection.served else error)

    @contextlib.contextmanager
    def serving(self, request: web.BaseRequest, connection: Connection) -> Iterator[None]:
        """Note that a request is being answered."""
        self._leave(connection)
        connection.served = True
        try:
            yield
        finally:
            connection.rested(whole=request.content.is_eof())
            if connection in self._open:
                self._waits(connection, IDLE_SECONDS)

    @contextlib.contextmanager
    def awaiting_body(self, connection: Connection) -> Iterator[None]:
        """Note that a handler waits for the rest of a body, which has a deadline of its own."""
        if connection in self._open:
            self._waits(connection, 2 * BODY_SECONDS)
            self._is_unfinished(connection)
        try:
            yield
        finally:
            self._leave(connection)

    def _waits(self, connection: Connection, seconds: float) -> None:
        connection.deadline = self._now() + seconds
        self._waiting[connection] = None

    def _is_unfinished(self, connection: Connection) -> None:
        """Count it for its address, and close the oldest ones if there are too many."""
        self._unfinished.setdefault(connection.address, {})[connection] = self._now()
        self._trim(connection.address)

    def _trim(self, address: str) -> None:
        of_address = self._unfinished[address]
        while len(of_address) > UNFINISHED_PER_ADDRESS:
            oldest, since = next(iter(of_address.items()))
            if self._now() - since < GRACE_SECONDS:
                return
            self._close(oldest, "address")

    def _leave(self, connection: Connection) -> None:
        self._waiting.pop(connection, None)
        of_address = self._unfinished.get(connection.address)
        if of_address is not None and connection in of_address:
            del of_address[connection]
            if not of_address:
                del self._unfinished[connection.address]

    def _close(self, connection: Connection, why: str, problem: Exception | None = None) -> None:
        self._leave(connection)
        metrics.CONNECTIONS_CLOSED.labels(why).inc()
        if why != "idle":
            self._untold[why] += 1
        connection.close_unserved(problem)

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = self._now()
            for connection in [each for each in self._waiting if each.deadline <= now]:
                begun = connection.begun
                error = problems.TooSlow(what="The header", seconds=HEADER_SECONDS)
                self._close(connection, "slow" if begun else "idle", error)
            for address in list(self._unfinished):
                self._trim(address)
            self._tell(now)

    def _tell(self, now: float) -> None:
        if self._untold and now - self._told_at >= LOG_SECONDS:
            self._told_at = now
            log.warning(
                "Connections were closed because of their clients",
                **self._untold,
                open=len(self._open),
                limit=self._limit,
            )
            self._untold.clear()


class _Server(web.Server):
    """Makes a `Connection` of each connection, and tells the guard when it is served."""

    def __init__(self, made: web.Server, guard: Guard) -> None:
        super().__init__(self._serve, request_factory=made.request_factory)
        self._answer = made.request_handler
        self._guard = guard

    def __call__(self) -> Connection:
        return Connection(self, self._guard, loop=asyncio.get_running_loop(), **HANDLER_ARGS)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = cast("Connection", request.protocol)
        with self._guard.serving(request, connection):
            try:
                return await self._answer(request)
            except (web.HTTPException, problems.RequestError) as error:  # before any middleware
                return responses.of_error(error)


class Runner(web.AppRunner):
    """Runs an application on guarded connections."""

    def __init__(
        self, app: web.Application, *, limit: int | None = None, shutdown_timeout: float = 60.0
    ) -> None:
        """Prepare to run an application of `gateway.app.create_app`.

        Args:
            app: The application.
            limit: How many connections it can have. By default file descriptors set the limit.
            shutdown_timeout: Seconds that requests in progress may still take when it stops.

        """
        super().__init__(app, access_log=None, shutdown_timeout=shutdown_timeout)
        self._limit = limit
        self._guard: Guard | None = None

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        settings = self.app[SETTINGS]
        limit = connection_limit(settings) if self._limit is None else self._limit
        self._guard = Guard(limit, settings.max_body_bytes)
        self._guard.start()
        return _Server(made, self._guard)

    async def _cleanup_server(self) -> None:
        if self._guard is not None:
            await self._guard.stop()
        await super()._cleanup_server()


@contextlib.contextmanager
def awaiting_body(request: web.Request) -> Iterator[None]:
    """Note that the handler waits for the rest of a request's body."""
    connection = request.protocol
    if not isinstance(connection, Connection) or request.content.is_eof():
        yield
        return
    with connection.guard.awaiting_body(connection):
        yield


@contextlib.asynccontextmanager
async def while_connected(request: web.Request) -> AsyncIterator[None]:
    """Cut off what is done for a client that hangs up meanwhile.

    Raises:
        ConnectionResetError: The client is gone.

    """
    connection = request.protocol
    if not isinstance(connection, Connection):
        yield
        return
    try:
        async with asyncio.timeout(None) as scope:
            connection.on_lost = lambda: scope.reschedule(0)
            if not connection.connected:
                scope.reschedule(0)
            try:
                yield
            finally:
                connection.on_lost = None
    except TimeoutError:
        if not scope.expired():
            raise
        raise ConnectionResetError("the client has gone") from None
