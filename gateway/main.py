"""The gateway as a program of its own, with RabbitMQ and MongoDB: ``python -m gateway``."""

import asyncio

import structlog
from aiohttp import web

from common.program.run import Frame, require_servers, run
from gateway.app import create_app
from gateway.context import READINESS
from gateway.http.connections import BACKLOG, Runner

log = structlog.stdlib.get_logger(__name__)

DRAIN_SECONDS = 2.0
"""Time between "not ready" and stopping, in which load balancers notice and send no new clients."""
SHUTDOWN_SECONDS = 5.0
"""How long requests in progress may still take."""


async def _serve(frame: Frame) -> None:
    settings = frame.settings
    app = create_app(settings, store=frame.store, broker=frame.broker)
    runner = Runner(app, shutdown_timeout=SHUTDOWN_SECONDS)
    try:
        await runner.setup()
        await web.TCPSite(runner, settings.host, settings.port, backlog=BACKLOG).start()
        host, port = runner.addresses[0][:2]
        log.info("Listening", host=host, port=port)
        await frame.until_stopped()
        app[READINESS].draining = True
        await asyncio.sleep(DRAIN_SECONDS)
    finally:
        await runner.cleanup()


def main() -> None:
    """Run the gateway until SIGTERM or SIGINT asks it to stop."""
    run(_serve, service="factorline-gateway", kind="gateway", check=require_servers)
