"""`make run`: gateway, worker, SQLite and a memory broker in one process; needs only Python."""

import asyncio
import contextlib
import errno
import logging
import sys

import uvloop
from aiohttp import web

from common import errors
from common.broker.factory import open_broker
from common.runtime import garbage
from common.runtime.logs import configure_logging
from common.runtime.settings import Settings, forget_secrets
from common.runtime.signals import stop_on_signals
from common.runtime.tracing import configure_tracing
from common.store.factory import open_store
from factor_worker.worker import Worker
from gateway.access.doorkeeper import check_exposure
from gateway.app import create_app

GRACE_SECONDS = 1.0
"""Units in flight are computed again after a restart, so leaving quickly is worth more."""


async def serve(settings: Settings, *, stopping: asyncio.Event) -> None:
    """Serve until told to stop; print the address when ready."""
    check_exposure(settings)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(configure_tracing(settings, service="factorline"))
        store = await stack.enter_async_context(open_store(settings))
        broker = await stack.enter_async_context(open_broker(settings))
        worker = Worker(settings, store, broker)
        await worker.start(alone=True)
        stack.push_async_callback(worker.stop, grace_seconds=GRACE_SECONDS)
        runner = web.AppRunner(create_app(settings, store=store, broker=broker), access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await _listen(runner, settings)
        address = f"http://{settings.host}:{settings.port}"
        print(  # noqa: T201 for the person who started it
            f"Factorline is ready at {address}  (Ctrl-C stops it, {settings.data} keeps its work)",
            flush=True,  # also into a file
        )
        garbage.look_seldom()
        await stopping.wait()


async def _listen(runner: web.AppRunner, settings: Settings) -> None:
    try:
        await web.TCPSite(runner, settings.host, settings.port).start()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise errors.SettingError(
            name="FACTORLINE_PORT",
            value=settings.port,
            why="another program listens there; try `make run PORT=8081`",
        ) from error


async def _main() -> None:
    """Serve until SIGTERM or SIGINT; a second signal exits at once."""
    settings = Settings.from_environ()
    forget_secrets()
    configure_logging(settings)
    logging.getLogger("aiohttp").setLevel(logging.WARNING)
    await serve(settings, stopping=stop_on_signals())


def main() -> None:
    """Run the program; a `FactorlineError` ends it with its message and status 1."""
    try:
        uvloop.run(_main())
    except errors.FactorlineError as error:
        sys.exit(f"factorline: {error}")
