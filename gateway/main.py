"""The gateway program of the production shape, between RabbitMQ and MongoDB."""

import asyncio
import contextlib
import sys

import structlog
import uvloop
from aiohttp import web

from common import errors
from common.broker.factory import open_broker
from common.program import probe
from common.runtime import garbage
from common.runtime.logs import configure_logging
from common.runtime.settings import Settings, forget_secrets
from common.runtime.signals import stop_on_signals
from common.runtime.tracing import configure_tracing
from common.store.factory import open_store
from gateway.app import create_app
from gateway.context import READINESS

log = structlog.stdlib.get_logger(__name__)

DRAIN_SECONDS = 2.0
"""Between "not ready" and the end, so that a balancer that looks every second sends nobody else."""
SHUTDOWN_SECONDS = 5.0
"""How long requests in hand may take to end."""


async def _main() -> None:
    """Run until SIGTERM or SIGINT; a second signal exits at once."""
    settings = Settings.from_environ().named("gateway")
    forget_secrets()
    configure_logging(settings)
    if not (settings.amqp_url and settings.mongodb_uri):
        raise errors.SettingError(
            name="FACTORLINE_AMQP_URL and FACTORLINE_MONGODB_URI",
            value="",
            why="a gateway on its own needs both (`make run` needs neither)",
        )
    stopping = stop_on_signals()
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(configure_tracing(settings, service="factorline-gateway"))
        store = await stack.enter_async_context(open_store(settings))
        broker = await stack.enter_async_context(open_broker(settings))
        await stack.enter_async_context(probe.serving(settings, broker))
        app = create_app(settings, store=store, broker=broker)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        try:
            await runner.setup()
            await web.TCPSite(runner, settings.host, settings.port).start()
            host, port = runner.addresses[0][:2]
            log.info("Listening", host=host, port=port)
            garbage.look_seldom()
            await stopping.wait()
            app[READINESS].draining = True
            await asyncio.sleep(DRAIN_SECONDS)
        finally:
            await runner.cleanup()


def main() -> None:
    """Run the program; a `FactorlineError` or a port in use ends it with a message and status 1."""
    try:
        uvloop.run(_main())
    except (errors.FactorlineError, OSError) as error:
        sys.exit(f"gateway: {error}")
