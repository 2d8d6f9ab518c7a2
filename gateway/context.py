"""What a handler finds in its application."""

from aiohttp import web

from common.broker import Broker
from common.lifecycle import Lifecycle
from common.runtime.settings import Settings
from common.store import Store
from gateway.hub import Hub


class Readiness:
    """Whether a balancer should send new clients here."""

    def __init__(self) -> None:
        self.draining = False


SETTINGS = web.AppKey("SETTINGS", Settings)
STORE: web.AppKey[Store] = web.AppKey("STORE")
BROKER: web.AppKey[Broker] = web.AppKey("BROKER")
LIFECYCLE = web.AppKey("LIFECYCLE", Lifecycle)
HUB = web.AppKey("HUB", Hub)
READINESS = web.AppKey("READINESS", Readiness)
OPENAPI = web.AppKey("OPENAPI", bytes)
ASYNCAPI = web.AppKey("ASYNCAPI", bytes)
