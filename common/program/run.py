"""The frame that every program of ours runs in: gateway, worker, and both in one process.

It hides its memory from other processes, reads the settings, takes the secrets out of the environment, sets
up logs and traces, opens the store and the broker, serves the operator's pages, and turns SIGTERM and SIGINT
into an orderly stop.
"""

import contextlib
import resource
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import uvloop

from common import errors
from common.broker import Broker
from common.broker.factory import open_broker
from common.program import probe
from common.runtime import garbage, privacy
from common.runtime.logs import configure_logging
from common.runtime.settings import Settings, forget_secrets
from common.runtime.signals import stop_on_signals
from common.runtime.tracing import configure_tracing
from common.store import Store
from common.store.factory import open_store


@dataclass(frozen=True, slots=True)
class Frame:
    """What a program finds when it begins; all of it is closed after the program has ended."""

    settings: Settings
    store: Store
    broker: Broker
    _wait_for_signal: Callable[[], Awaitable[object]]

    async def until_stopped(self) -> None:
        """Return when the program is asked to stop. Call this once everything is started."""
        garbage.collect_rarely()
        await self._wait_for_signal()


def run(
    serve: Callable[[Frame], Awaitable[None]],
    *,
    service: str,
    kind: str = "",
    check: Callable[[Settings], None] = lambda _settings: None,
) -> None:
    """Run a program until it is asked to stop; a second signal ends it at once.

    A `FactorlineError`, or an address that is in use, ends it with a message and status 1.

    Args:
        serve: Starts the program, awaits `Frame.until_stopped`, and stops the program.
        service: The program's name in traces and in front of its last message.
        kind: What it is called in logs and on RabbitMQ's page, unless FACTORLINE_NAME is set.
        check: Raises a `SettingError` if the program cannot run with the settings.

    """
    try:
        uvloop.run(_framed(serve, service, kind, check))
    except (errors.FactorlineError, OSError) as error:
        sys.exit(f"{service}: {error}")


async def _framed(
    serve: Callable[[Frame], Awaitable[None]],
    service: str,
    kind: str,
    check: Callable[[Settings], None],
) -> None:
    privacy.hide_memory()
    settings = Settings.from_environ()
    if kind:
        settings = settings.named(kind)
    forget_secrets()
    _raise_descriptor_limit()
    configure_logging(settings)
    check(settings)
    stopping = stop_on_signals()
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(configure_tracing(settings, service=service))
        store = await stack.enter_async_context(open_store(settings))
        broker = await stack.enter_async_context(open_broker(settings))
        await stack.enter_async_context(probe.serving(settings, broker))
        await serve(Frame(settings, store, broker, stopping.wait))


def _raise_descriptor_limit() -> None:
    """Take as many file descriptors as the system gives: each client's connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS has a lower limit that it does not tell
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def require_servers(settings: Settings) -> None:
    """Refuse to run a gateway or a worker on its own without RabbitMQ and MongoDB."""
    if not (settings.amqp_url and settings.mongodb_uri):
        raise errors.SettingError(
            name="FACTORLINE_AMQP_URL and FACTORLINE_MONGODB_URI",
            value="",
            why="a gateway or a worker on its own needs both (`factorline serve` needs neither)",
        )
