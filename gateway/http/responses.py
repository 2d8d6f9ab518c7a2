"""Makes responses out of values: results as JSON with ETag and Retry-After, errors as problems."""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
import structlog
from aiohttp import web

from common import errors
from gateway.context import ANSWER_FIELDS, SITES
from gateway.views import problems
from gateway.views.models import Problem, TaskView

log = structlog.stdlib.get_logger(__name__)

POLL_SECONDS = "1"
"""How soon a client that polls should look at an unfinished task again."""
UNAVAILABLE_RETRY_SECONDS = "2"
_ENCODER = msgspec.json.Encoder()
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""What every answer tells a browser. A page has a policy of its own, which allows it its files."""


def of_model(
    model: msgspec.Struct, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return a model as JSON that caches must revalidate."""
    return web.Response(
        body=_ENCODER.encode(model),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-cache", **(headers or {})},
    )


def of_task(
    shown: TaskView, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return a task with its entity tag and, until it is done, with the time to ask again."""
    more = {"ETag": _etag(shown), **(headers or {})}
    if not shown.done:
        more["Retry-After"] = POLL_SECONDS
    return of_model(shown, status=status, headers=more)


def not_modified(shown: TaskView) -> web.Response:
    """Return the answer to a client that already has this version of a task."""
    headers = {"ETag": _etag(shown), "Cache-Control": "no-cache"}
    return web.Response(status=304, headers=headers)


def _etag(shown: TaskView) -> str:
    # What a task that has not begun waits for is not a part of its version.
    return f'"{shown.version}{"-waiting" if shown.waiting else ""}"'


def of_error(error: Exception) -> web.Response:
    """Return the problem that tells a client of an error. Errors that nobody planned for are logged."""
    if isinstance(error, web.HTTPException):
        return _of_aiohttp_error(error)
    problem = problems.problem_of(error)
    response = _of_problem(problem)
    if isinstance(error, problems.RequestError):
        response.headers.update(error.headers)
    elif isinstance(error, errors.Unavailable):
        response.headers["Retry-After"] = UNAVAILABLE_RETRY_SECONDS
        log.warning("Request answered with 503", why=error.why)
    if problem.status == web.HTTPInternalServerError.status_code:
        log.error("Internal error while answering a request", exc_info=error)
    return response


def _of_aiohttp_error(error: web.HTTPException) -> web.Response:
    """Return the problem for an error of aiohttp itself, such as a path that no route has."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        response = _of_problem(
            problems.of_kind(problems.METHOD_NOT_ALLOWED, f"Allowed: {allowed}.")
        )
        response.headers["Allow"] = allowed
        return response
    kind = problems.HTTP_ERROR._replace(status=error.status)
    detail = f"The request cannot be served ({error.status} {HTTPStatus(error.status).phrase})."
    return _of_problem(problems.of_kind(kind, detail))


def _of_problem(problem: Problem) -> web.Response:
    return web.Response(
        body=_ENCODER.encode(problem),
        status=problem.status,
        content_type=problems.CONTENT_TYPE,
        headers=HEADERS,  # some are sent before there is an application
    )


def add_fields(request: web.Request, fields: Mapping[str, str]) -> None:
    """Add header fields to the answer of a request; a field that it already has gets a list."""
    if not fields:
        return
    added = request.setdefault(ANSWER_FIELDS, {})
    for name, value in fields.items():
        added[name] = f"{added[name]}, {value}" if name in added else value


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Write the headers that every answer has, and the fields of `add_fields`, into a response.

    If the client is still sending a body that nobody has read, the connection closes after the answer.
    """
    for name, value in (*HEADERS.items(), *request.get(ANSWER_FIELDS, {}).items()):
        response.headers.setdefault(name, value)
    response.headers["Server"] = "factorline"  # otherwise the versions of Python and aiohttp
    sites = request.app[SITES]
    if sites.depends_on_origin:
        response.headers.update(sites.fields(request.headers.get("Origin")))
        varies = response.headers.getall("Vary", ())
        response.headers["Vary"] = ", ".join([*varies, "Origin"])
    if not request.content.is_eof() and not isinstance(response, web.WebSocketResponse):
        response.force_close()
        response.headers["Connection"] = "close"
