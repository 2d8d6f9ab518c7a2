"""Two pages for operators, GET /metrics and GET /healthz, which a program serves on a separate address."""

import contextlib
from collections.abc import AsyncIterator

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from common.broker import Broker
from common.runtime.settings import Settings


@contextlib.asynccontextmanager
async def serving(settings: Settings, broker: Broker) -> AsyncIterator[None]:
    """Serve the pages if the settings name an address.

    Raises:
        OSError: Another program listens there.

    """
    address = settings.metrics_address
    if address is None:
        yield
        return

    async def healthz(_request: web.Request) -> web.Response:
        """Report that the event loop runs. An unreachable broker is no reason for a restart."""
        return web.json_response({"status": "alive", "broker_connected": broker.connected})

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application(handler_args={"auto_decompress": False, "keepalive_timeout": 75.0})
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None)
    try:
        await runner.setup()
        await web.TCPSite(runner, *address).start()
        yield
    finally:
        await runner.cleanup()
