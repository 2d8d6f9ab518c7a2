"""What a gateway counts, for Prometheus."""

import time
from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web
from prometheus_client import Counter, Histogram

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


@web.middleware
async def middleware(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Count every request; a WebSocket counts when it ends, and has no latency."""
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else "unknown"
    method = request.method if request.method in hdrs.METH_ALL else "other"
    started = time.perf_counter()
    response = await handler(request)
    REQUESTS.labels(route, method, response.status).inc()
    if not isinstance(response, web.WebSocketResponse):
        REQUEST_SECONDS.labels(route).observe(time.perf_counter() - started)
    return response
