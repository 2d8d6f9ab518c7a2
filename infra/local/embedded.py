"""`make run`: gateway, worker, SQLite and a memory broker in one process; needs only Python."""

import contextlib
import errno
import logging
from pathlib import Path

from aiohttp import web

from common import errors
from common.program.run import Frame, run
from common.runtime import exclusive
from common.runtime.settings import Settings
from factor_worker.worker import Worker
from gateway.access import check_exposure
from gateway.app import create_app
from gateway.http.connections import BACKLOG, Runner

GRACE_SECONDS = 1.0
"""Stopping quickly matters more than finishing units: they are computed again after a restart."""


async def _serve(frame: Frame) -> None:
    """Serve until asked to stop; print the address when ready."""
    settings, store, broker = frame.settings, frame.store, frame.broker
    logging.getLogger("aiohttp").setLevel(logging.WARNING)
    async with contextlib.AsyncExitStack() as stack:
        worker = Worker(settings, store, broker)
        await worker.start(alone=True)
        stack.push_async_callback(worker.stop, grace_seconds=GRACE_SECONDS)
        app = create_app(settings, store=store, broker=broker)
        runner = Runner(app)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await _listen(runner, settings)
        address = f"http://{settings.host}:{settings.port}"
        print(  # noqa: T201 for the person who started it
            f"Factorline is ready at {address}  (Ctrl-C stops it; its data stays in {settings.data})",
            flush=True,  # at once, into a file or a pipe too
        )
        await frame.until_stopped()


async def _listen(runner: web.AppRunner, settings: Settings) -> None:
    try:
        await web.TCPSite(runner, settings.host, settings.port, backlog=BACKLOG).start()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise errors.SettingError(
            name="FACTORLINE_PORT",
            value=settings.port,
            why="another program is listening there; choose another port, such as 8081",
        ) from error


def _check(settings: Settings) -> None:
    check_exposure(settings)
    if not settings.mongodb_uri:
        exclusive.claim(Path(settings.data), setting="FACTORLINE_DATA")


def main() -> None:
    """Run the program."""
    run(_serve, service="factorline", check=_check)
