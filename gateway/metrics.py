"""What a gateway counts, for Prometheus."""

import asyncio

from prometheus_client import Counter, Gauge, Histogram

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
