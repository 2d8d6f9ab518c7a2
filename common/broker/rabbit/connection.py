"""One connection to RabbitMQ, re-established whenever it is lost."""

import asyncio
import contextlib
from collections.abc import Iterator

import aio_pika
import pamqp.exceptions
import structlog
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError

from common.broker.rabbit import topology
from common.runtime import metrics
from common.runtime.backoff import Backoff

log = structlog.stdlib.get_logger(__name__)

CONNECT_SECONDS = 10.0
HEARTBEAT_SECONDS = 5
"""The broker gives up on a silent client after two to three of these, the client on the broker after four."""
PAUSE_SECONDS = (0.1, 2.0)
"""First and longest pause between two attempts to connect or to consume."""

FAILURES = (
    AMQPError,
    OSError,
    TimeoutError,
    RuntimeError,  # what aio-pika raises for a transport that is gone
    asyncio.InvalidStateError,
    pamqp.exceptions.PAMQPException,
)
"""What aio-pika raises when a broker is down, goes away or refuses."""


@contextlib.contextmanager
def deaths_as_failures() -> Iterator[None]:
    """Turn everything else that a call raises when its connection dies into one of `FAILURES`.

    aiormq cancels its own tasks then. In the middle of a handshake that surfaces as a bare `Exception`,
    or as a cancellation that nobody requested, and either would silently end the caller's loop for good.
    """
    try:
        yield
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise ConnectionAbortedError("the connection died during a call") from error
    except Exception as error:
        if type(error) is not Exception:
            raise
        raise ConnectionAbortedError("the connection died during a call") from error


def reconnecting() -> Backoff:
    """Return the pauses between attempts to connect or to consume."""
    first, longest = PAUSE_SECONDS
    return Backoff(first=first, longest=longest)


class Link:
    """A connection for one purpose, with the topology declared whenever it comes up.

    aio-pika's own robust connection is not used: it gives up if the first attempt fails, holds its channels
    by weak references, and does not report the gap to those who have to catch up (docs/adr/0005).
    """

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._connection: AbstractConnection | None = None
        self._up = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        """Tell which connection this is and how it is."""
        return f"<Link {self._name!r} up={self.up}>"

    @property
    def up(self) -> bool:
        """Whether the connection is there, as far as is known."""
        return self._up.is_set()

    def open(self) -> None:
        """Begin to connect, in the background."""
        metrics.CONNECTIONS_MISSING.inc()
        self._keeper = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Disconnect, for good."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
            metrics.CONNECTIONS_MISSING.dec()
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def connection(self) -> AbstractConnection:
        """Return the connection when it is up."""
        while self._connection is None or not self.up:
            await self._up.wait()
        return self._connection

    async def _keep(self) -> None:
        backoff = reconnecting()
        while True:
            lost = asyncio.Event()
            try:
                with deaths_as_failures():
                    self._connection = await self._connect(lost)
            except FAILURES as error:
                why = str(error) or f"no answer within {CONNECT_SECONDS:.0f} s"
                log.warning("No connection to RabbitMQ", connection=self._name, why=why)
                await backoff.pause()
                continue
            except Exception:  # whatever it is, nobody else will ever try again
                log.exception("No connection to RabbitMQ", connection=self._name)
                await backoff.pause()
                continue
            backoff.reset()
            self._up.set()
            metrics.CONNECTIONS_MISSING.dec()
            log.info("Connected to RabbitMQ", connection=self._name)
            try:
                await lost.wait()
                metrics.CONNECTIONS_LOST.inc()
                log.warning("Lost the connection to RabbitMQ", connection=self._name)
            finally:
                self._up.clear()
                metrics.CONNECTIONS_MISSING.inc()
                self._let_go(self._connection)
            await backoff.pause()

    async def _connect(self, lost: asyncio.Event) -> AbstractConnection:
        async with asyncio.timeout(CONNECT_SECONDS):
            connection = await aio_pika.connect(
                self._url,
                client_properties={"connection_name": self._name},
                heartbeat=HEARTBEAT_SECONDS,
            )
            connection.close_callbacks.add(lambda *_: lost.set())
            try:
                await topology.declare(connection)
            except BaseException:
                self._let_go(connection)
                raise
        return connection

    def _let_go(self, connection: AbstractConnection) -> None:
        """Close a connection in the background: with a silent broker that takes a while."""
        closing = asyncio.create_task(_close(connection))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


async def _close(connection: AbstractConnection) -> None:
    with contextlib.suppress(*FAILURES):
        async with asyncio.timeout(CONNECT_SECONDS):
            await connection.close()
