"""Answers the calls that are not about numbers: pages, documents, health, status, metrics."""

import asyncio

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from common import errors
from common.broker import Broker, Queue
from common.domain import ALIVE_SECONDS
from common.store import Store
from gateway.context import ASYNCAPI, BROKER, HUB, OPENAPI, READINESS, SETTINGS, STORE
from gateway.http import assets, responses
from gateway.http.deadline import DEADLINE
from gateway.views import problems
from gateway.views.models import Health, QueueStatus, ServiceStatus, StoreSize, WorkerView
from gateway.views.representation import rfc3339

HELLO = "Hello Factor app!\n"


async def home(request: web.Request) -> web.Response:
    """Show the page to a browser, and one line of text to every other client."""
    if "text/html" in request.headers.get("Accept", ""):
        return assets.respond("index.html", request.if_none_match)
    return web.Response(text=HELLO, headers={"Vary": "Accept"})


async def docs(request: web.Request) -> web.Response:
    """Show the OpenAPI document as a page."""
    return assets.respond("docs.html", request.if_none_match)


async def openapi(request: web.Request) -> web.Response:
    """Return the OpenAPI document of all calls."""
    return web.Response(body=request.app[OPENAPI], content_type="application/json")


async def asyncapi(request: web.Request) -> web.Response:
    """Return the AsyncAPI document of the WebSocket."""
    return web.Response(body=request.app[ASYNCAPI], content_type="application/json")


async def explain_problem(request: web.Request) -> web.Response:
    """Explain a type of problem."""
    kind = problems.KINDS.get(request.match_info["name"])
    if kind is None:
        raise problems.UnknownPage
    return web.Response(text=f"{kind.title} ({kind.status})\n\n{kind.advice}\n")


async def healthz(request: web.Request) -> web.Response:
    """Say that the process is alive, even if what it depends on is not."""
    connected = request.app[BROKER].connected
    return responses.of_model(Health(status="alive", broker_connected=connected))


async def readyz(request: web.Request) -> web.Response:
    """Say whether new clients are welcome: 404 while draining, 503 while the database is down.

    A broker that is down does not matter here: numbers are accepted, and published later.
    """
    connected = request.app[BROKER].connected
    if request.app[READINESS].draining:
        draining = Health(status="draining", broker_connected=connected)
        return responses.of_model(draining, status=404)
    await request.app[STORE].ping()
    return responses.of_model(Health(status="ready", broker_connected=connected))


async def metrics(_request: web.Request) -> web.Response:
    """Return the metrics of this process in Prometheus's format."""
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def status(request: web.Request) -> web.Response:
    """Show workers, queues and connections to an operator, even if some of them are down."""
    app = request.app
    broker = app[BROKER]
    with request[DEADLINE].paused():  # a database that is down takes a while to say so
        workers, sizes, waiting = await asyncio.gather(
            _workers(app[STORE]),
            _sizes(app[STORE]),
            asyncio.gather(*(_waiting(broker, queue) for queue in Queue)),
        )
    return responses.of_model(
        ServiceStatus(
            at=rfc3339(app[STORE].now()),
            version=app[SETTINGS].version,
            broker_connected=broker.connected,
            sockets=len(app[HUB].sockets),
            queues=[
                QueueStatus(name=queue, waiting=count)
                for queue, count in zip(Queue, waiting, strict=True)
            ],
            workers=workers,
            store=sizes,
            management_url=app[SETTINGS].management_url or None,
            metrics_url="/metrics",
        )
    )


async def _waiting(broker: Broker, queue: Queue) -> int | None:
    try:
        return await broker.depth(queue)
    except errors.BrokerUnavailable:
        return None


async def _workers(store: Store) -> list[WorkerView] | None:
    try:
        found = await store.list_workers(seen_after=store.now() - ALIVE_SECONDS)
    except errors.StoreUnavailable:
        return None
    return [
        WorkerView(
            worker_id=worker.worker_id,
            host=worker.host,
            pid=worker.pid,
            slots=worker.slots,
            running=len(worker.running),
            units_done=worker.units_done,
            started_at=rfc3339(worker.started_at),
            seen_at=rfc3339(worker.seen_at),
        )
        for worker in found
    ]


async def _sizes(store: Store) -> list[StoreSize] | None:
    try:
        found = await store.measure()
    except errors.StoreUnavailable:
        return None
    return [
        StoreSize(part=size.part, size_bytes=size.size_bytes, documents=size.documents)
        for size in found
    ]
