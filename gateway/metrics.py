"""What a gateway counts, for Prometheus."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web
from prometheus_client import Counter, Gauge, Histogram
from structlog.contextvars import bound_contextvars

from common.runtime import tracing

REQUESTS = Counter(
    "factorline_http_requests",
    "Requests, by route, method and status",
    ["route", "method", "status"],
)
REQUEST_SECONDS = Histogram(
    "factorline_http_request_seconds",
    "Time to answer a request, waiting for news included",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60),
)
TASKS = Counter(
    "factorline_tasks", "Tasks accepted, by whether they had ended when they were", ["ended"]
)
SOCKETS = Gauge("factorline_websockets", "WebSockets that are open")
SOCKETS_CLOSED = Counter(
    "factorline_websockets_closed", "WebSockets that have ended, by close code", ["code"]
)
FOLLOWED = Gauge("factorline_followed_numbers", "Numbers that somebody follows in this gateway")
EVENTS = Counter(
    "factorline_events", "Events heard, by whether anybody here follows the number", ["followed"]
)
EVENT_GAPS = Counter("factorline_event_gaps", "Reconnections, after which all is read again")
REFUSED = Counter(
    "factorline_refused", "Requests and sockets refused for their key or its limits", ["why"]
)
ASYNCIO_TASKS = Gauge(
    "factorline_asyncio_tasks", "Asyncio tasks of this gateway that have not ended"
)


def _count_tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # asked outside of the event loop
        return 0


ASYNCIO_TASKS.set_function(_count_tasks)


@web.middleware
async def middleware(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Count every request; a WebSocket counts when it ends, and has no latency."""
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else "unknown"
    method = request.method if request.method in hdrs.METH_ALL else "other"
    started = time.perf_counter()
    with (
        tracing.serving(method, route, request.headers) as span,
        bound_contextvars(method=method, route=route, **_task_named(request)),
    ):
        response = await handler(request)
        span.set_attribute("http.response.status_code", response.status)
    REQUESTS.labels(route, method, response.status).inc()
    if not isinstance(response, web.WebSocketResponse):
        REQUEST_SECONDS.labels(route).observe(time.perf_counter() - started)
    return response


def _task_named(request: web.Request) -> dict[str, str]:
    """Return the field of a log line that names the task of a request, if its path does."""
    task_id = request.match_info.get("task_id")
    return {} if task_id is None else {"task_id": task_id}
