"""What surrounds every handler: metrics, problems instead of errors, sites, keys, limits, the deadline."""

import functools
import time
from collections.abc import Awaitable, Callable, Collection, Sequence

import structlog
from aiohttp import hdrs, web
from structlog.contextvars import bound_contextvars
from yarl import URL

from common.runtime import tracing
from gateway import metrics
from gateway.access import PREFLIGHT, Access
from gateway.context import DOORKEEPER, IDENTITY, LIMITER, SETTINGS, SITES
from gateway.http import parameters, responses
from gateway.http.deadline import DEADLINE, Deadline
from gateway.views import problems

log = structlog.stdlib.get_logger(__name__)

CLIENT_GONE = 499
"""The status under which a request is counted whose client hung up; nobody receives it."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PROBES = {"/healthz", "/readyz"}
"""Balancers call these under names of their own, and the answers say nothing of anybody."""


@web.middleware
async def measure(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count and trace every request. A WebSocket is counted when it ends, and has no latency."""
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else "unknown"
    method = request.method if request.method in hdrs.METH_ALL else "other"
    trusted = request.app[SETTINGS].trust_traces
    started = time.perf_counter()
    with (
        tracing.serving(method, route, request.headers, trusted=trusted) as span,
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
        if isinstance(error, web.HTTPNotFound):
            return responses.of_error(problems.UnknownPage(meant=await _meant(request)))
        return responses.of_error(error)
    except ConnectionError:
        log.info("A client went away before it was answered")
        return web.Response(status=CLIENT_GONE)
    except Exception as error:  # noqa: BLE001 the last resort; what is not expected is logged
        return responses.of_error(error)


async def _meant(request: web.Request) -> str | None:
    """Return the path that a request with a slash too many probably meant."""
    path = "/" + "/".join(filter(None, request.rel_url.raw_path.split("/")))
    if path == request.rel_url.raw_path:
        return None
    found = await request.app.router.resolve(request.clone(rel_url=URL(path, encoded=True)))
    return path if found.http_exception is None else None


@web.middleware
async def check_site(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse wrong names and pages of other sites, and answer the preflight of a listed site."""
    sites = request.app[SITES]
    try:
        if request.path not in PROBES:
            sites.check_host(request.host, *request.headers.getall("Host", ()))
        sites.check_page(request.method, request.host, request.headers)
    except problems.RequestError as error:
        metrics.REFUSED.labels(problems.name_of(error)).inc()
        raise
    if request.method == "OPTIONS" and sites.fields(request.headers.get("Origin")):
        return web.Response(status=204, headers=PREFLIGHT)
    return await handler(request)


def guarded(handler: Handler, access: Access, query: Collection[str] | None = None) -> Handler:
    """Return the handler with what must come before it: the deadline, the API key, the key's limits.

    Args:
        handler: Answers the request.
        access: What the caller must show.
        query: The query parameters that it reads; with others the request is refused. None allows any.

    """

    @functools.wraps(handler)
    async def handle(request: web.Request) -> web.StreamResponse:
        async with Deadline() as deadline:
            request[DEADLINE] = deadline
            if access is not Access.PUBLIC:
                shown = request.headers.getall("Authorization", ())
                door = request.app[DOORKEEPER]
                forwarded = request.headers.getall(hdrs.X_FORWARDED_FOR, ())
                address = door.address_of(request.remote, forwarded)
                identity = await door.admit(shown, access, address=address)
                request[IDENTITY] = identity
                responses.add_fields(request, identity.fields)
                responses.add_fields(request, await request.app[LIMITER].request(identity))
            _refuse_encoded(request.headers.getall(hdrs.CONTENT_ENCODING, ()))
            if query is not None:
                parameters.refuse_unknown(request.query, query)
            return await handler(request)

    return handle


def _refuse_encoded(encodings: Sequence[str]) -> None:
    """Refuse a compressed body, however little it may be here: it is never inflated."""
    if encodings:
        raise problems.EncodedBody(encoding=", ".join(encodings)[:100])
