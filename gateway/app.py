"""Puts the gateway together from its settings, a store and a broker: the one composition root."""

import msgspec
from aiohttp import web

from common.broker import Broker
from common.lifecycle import Lifecycle
from common.runtime.settings import Settings
from common.store import Store
from gateway.access import Doorkeeper, Limiter, Sites, check_exposure
from gateway.api import asyncapi, openapi
from gateway.api.routes import ROUTES, setup_routes
from gateway.context import (
    ASYNCAPI,
    BROKER,
    DOORKEEPER,
    HUB,
    LIFECYCLE,
    LIMITER,
    OPENAPI,
    READINESS,
    SETTINGS,
    SITES,
    STORE,
    Readiness,
)
from gateway.http import connections, middlewares, responses
from gateway.hub import Hub


def create_app(settings: Settings, *, store: Store, broker: Broker) -> web.Application:
    """Return the application.

        app = create_app(settings, store=store, broker=broker)
        runner = connections.Runner(app)

    The caller has opened the store and the broker, and closes them after the application has stopped.

    Raises:
        errors.SettingError: The address is public, and nothing says that it may be.

    """
    check_exposure(settings)
    app = web.Application(
        client_max_size=settings.max_body_bytes,
        handler_args=connections.HANDLER_ARGS,
        middlewares=[middlewares.measure, middlewares.answer_errors, middlewares.check_site],
    )
    app[SETTINGS], app[STORE], app[BROKER] = settings, store, broker
    app[DOORKEEPER] = Doorkeeper(settings, store)
    app[LIMITER] = Limiter(store, max_waits=settings.max_key_waits)
    app[SITES] = Sites(settings)
    app[LIFECYCLE] = Lifecycle(store, broker)
    app[HUB] = Hub(store, broker, app[LIFECYCLE])
    app[READINESS] = Readiness()
    app[OPENAPI] = msgspec.json.encode(
        openapi.document(ROUTES, keys=settings.keys, version=settings.version)
    )
    app[ASYNCAPI] = msgspec.json.encode(asyncapi.document())
    setup_routes(app)
    app.on_startup.append(_start)
    app.on_shutdown.append(_stop)
    app.on_response_prepare.append(responses.add_headers)
    return app


async def _start(app: web.Application) -> None:
    await app[HUB].start()
    await app[DOORKEEPER].start()


async def _stop(app: web.Application) -> None:
    """End sockets and long polls. Clean-up would be too late: before it, aiohttp waits for them to end."""
    await app[DOORKEEPER].stop()
    await app[HUB].stop()
