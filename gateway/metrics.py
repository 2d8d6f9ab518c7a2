"""The metrics of a gateway, for Prometheus."""

import asyncio

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter(
    "factorline_http_requests",
    "Requests, by route, method and status",
    ["route", "method", "status"],
)
REQUEST_SECONDS = Histogram(
    "factorline_http_request_seconds",
    "Time to answer a request, including the time that the client asked to wait",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60),
)
TASKS = Counter(
    "factorline_tasks", "Tasks accepted, by whether the answer was known at once", ["ended"]
)
CONNECTIONS = Gauge("factorline_connections", "Open connections of clients, WebSockets included")
CONNECTIONS_CLOSED = Counter(
    "factorline_connections_closed",
    "Connections closed or refused because of what their client did not do, by reason",
    ["why"],
)
WAITS = Gauge("factorline_waits", "Requests that wait for news (?wait= and Prefer: wait=)")
WAITS_SHORTENED = Counter(
    "factorline_waits_shortened",
    "Requests that asked to wait and were answered at once, because their key had too many waiting",
)
SOCKETS = Gauge("factorline_websockets", "Open WebSockets")
SOCKETS_CLOSED = Counter(
    "factorline_websockets_closed", "WebSockets that have closed, by close code", ["code"]
)
FOLLOWED = Gauge("factorline_followed_numbers", "Numbers that a client of this gateway follows")
FOLLOWERS = Gauge(
    "factorline_followers", "Tasks that this gateway watches for WebSockets and waiting requests"
)
SUBSCRIPTIONS = Gauge("factorline_subscriptions", "Tasks that open WebSockets follow")
EVENTS = Counter(
    "factorline_events",
    "Events received, by whether a client of this gateway follows the number",
    ["followed"],
)
EVENT_GAPS = Counter(
    "factorline_event_gaps",
    "Reconnections to the broker, after which everything that is followed is read again",
)
REFUSED = Counter(
    "factorline_refused",
    "Requests and WebSockets refused because of the API key, its limits, or a wrong name or site",
    ["why"],
)
ASYNCIO_TASKS = Gauge("factorline_asyncio_tasks", "Asyncio tasks in this gateway")


def _count_tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # called outside of the event loop
        return 0


ASYNCIO_TASKS.set_function(_count_tasks)
