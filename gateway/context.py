"""What a handler finds: the parts of the service in its application, and its caller in its request.

    store, identity = request.app[STORE], request[IDENTITY]
    tasks = await store.list_tasks(identity.owner, before=None, limit=20)

`gateway.app` fills the application; `gateway.http.middlewares.guarded` fills the request before the
handler runs. Only the deadline of a request is elsewhere, with its class: `gateway.http.deadline`.
"""

from aiohttp import web

from common.broker import Broker
from common.lifecycle import Lifecycle
from common.runtime.settings import Settings
from common.store import Store
from gateway.access import Doorkeeper, Identity, Limiter, Sites
from gateway.hub import Hub


class Readiness:
    """Whether a load balancer should send new clients here."""

    def __init__(self) -> None:
        self.draining = False


SETTINGS = web.AppKey("SETTINGS", Settings)
STORE: web.AppKey[Store] = web.AppKey("STORE")
BROKER: web.AppKey[Broker] = web.AppKey("BROKER")
LIFECYCLE = web.AppKey("LIFECYCLE", Lifecycle)
HUB = web.AppKey("HUB", Hub)
DOORKEEPER = web.AppKey("DOORKEEPER", Doorkeeper)
LIMITER = web.AppKey("LIMITER", Limiter)
SITES = web.AppKey("SITES", Sites)
READINESS = web.AppKey("READINESS", Readiness)
OPENAPI = web.AppKey("OPENAPI", bytes)
ASYNCAPI = web.AppKey("ASYNCAPI", bytes)

IDENTITY = web.RequestKey("IDENTITY", Identity)
"""Who makes the request. Public routes have none."""
ANSWER_FIELDS = web.RequestKey("ANSWER_FIELDS", dict[str, str])
"""Header fields that the answer gets, be it a result or a problem."""
