"""What surrounds every handler: metrics, problems instead of errors, the key, its limits, the deadline."""

import functools
import time
from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web
from structlog.contextvars import bound_contextvars

from common.runtime import tracing
from gateway import metrics
from gateway.access import Access
from gateway.context import DOORKEEPER, IDENTITY, LIMITER
from gateway.http import responses
from gateway.http.deadline import DEADLINE, Deadline

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def measure(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count and trace every request. A WebSocket is counted when it ends, and has no latency."""
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else "unknown"
    method = request.method if request.method in hdrs.METH_ALL else "other"
    started = time.perf_counter()
    with (
        tracing.serving(method, route, request.headers) as span,
        bound_contextvars(method=method, route=route, **_task_fields(request.match_info)),
    ):
        response = await handler(request)
        span.set_attribute("http.response.status_code", response.status)
    metrics.REQUESTS.labels(route, method, response.status).inc()
    if not isinstance(response, web.WebSocketResponse):
        metrics.REQUEST_SECONDS.labels(route).observe(time.perf_counter() - started)
    return response


def _task_fields(match_info: web.UrlMappingMatchInfo) -> dict[str, str]:
    """Return the field of a log line that names the task in the path, if there is one."""
    task_id = match_info.get("task_id")
    return {} if task_id is None else {"task_id": task_id}


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer with a problem when a handler raises an error."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < web.HTTPBadRequest.status_code:
            raise
        return responses.of_error(error)
    except ConnectionError:
        raise  # the client has gone: there is nobody to answer
    except Exception as error:  # noqa: BLE001 the last resort; what is not expected is logged
        return responses.of_error(error)


def guarded(handler: Handler, access: Access) -> Handler:
    """Return the handler with what must come before it: the deadline, the API key, the key's limits."""

    @functools.wraps(handler)
    async def handle(request: web.Request) -> web.StreamResponse:
        async with Deadline() as deadline:
            request[DEADLINE] = deadline
            if access is not Access.PUBLIC:
                shown = request.headers.getall("Authorization", ())
                identity = await request.app[DOORKEEPER].admit(shown, access)
                request[IDENTITY] = identity
                responses.add_fields(request, await request.app[LIMITER].request(identity))
            return await handler(request)

    return handle
