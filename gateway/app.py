"""Puts the gateway together from its settings, a store and a broker: the one composition root."""

import msgspec
from aiohttp import web

from common.broker import Broker
from common.lifecycle import Lifecycle
from common.runtime.settings import Settings
from common.store import Store
from gateway import metrics
from gateway.access import doorkeeper
from gateway.access.doorkeeper import DOORKEEPER, Doorkeeper
from gateway.access.limits import LIMITER, RATELIMIT, Limiter
from gateway.api import asyncapi, openapi
from gateway.api.routes import ROUTES, setup_routes
from gateway.context import (
    ASYNCAPI,
    BROKER,
    HUB,
    LIFECYCLE,
    OPENAPI,
    READINESS,
    SETTINGS,
    STORE,
    Readiness,
)
from gateway.http import responses
from gateway.hub import Hub


def create_app(settings: Settings, *, store: Store, broker: Broker) -> web.Application:
    """Return the application. Whoever opened the store and the broker closes them after it."""
    app = web.Application(
        client_max_size=settings.max_body_bytes,
        middlewares=[metrics.middleware, responses.middleware],
    )
    app[SETTINGS], app[STORE], app[BROKER] = settings, store, broker
    doorkeeper.check_exposure(settings)
    app[DOORKEEPER], app[LIMITER] = Doorkeeper(settings, store), Limiter(store)
    app[LIFECYCLE] = Lifecycle(store, broker)
    app[HUB] = Hub(store, broker, app[LIFECYCLE])
    app[READINESS] = Readiness()
    app[OPENAPI] = msgspec.json.encode(
        openapi.document(ROUTES, keys=settings.keys, version=settings.version)
    )
    app[ASYNCAPI] = msgspec.json.encode(asyncapi.document())
    setup_routes(app)
    app.on_startup.append(_start_hub)
    app.on_shutdown.append(_stop_hub)
    app.on_response_prepare.append(_harden)
    return app


async def _start_hub(app: web.Application) -> None:
    await app[HUB].start()
    await app[DOORKEEPER].start()


async def _stop_hub(app: web.Application) -> None:
    """End sockets and long polls; at clean-up it would be too late, aiohttp waits for them first."""
    await app[DOORKEEPER].stop()
    await app[HUB].stop()


async def _harden(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    for name, value in request.get(RATELIMIT, {}).items():
        response.headers.setdefault(name, value)
