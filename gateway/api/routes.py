"""The table of calls: the router and the OpenAPI document are both made from it."""

import functools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import msgspec
from aiohttp import web

from gateway.access import limits
from gateway.access.doorkeeper import IDENTITY, Access, admit
from gateway.access.limits import LIMITER
from gateway.http import assets, deadline, handlers, pages, parameters
from gateway.views import models
from gateway.websocket.session import websocket

TEXT, HTML, ANY = "text/plain", "text/html", "*/*"
JSON_DOCUMENT = "application/json"


@dataclass(frozen=True, slots=True)
class Parameter:
    """Something that a call takes beside its body."""

    name: str
    where: str
    """``path``, ``query`` or ``header``."""
    says: str
    schema: Mapping[str, object] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, slots=True)
class Route:
    """One call. ``answers`` maps a status to its model, its media type, or None for no body."""

    method: str
    path: str
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    answers: Mapping[int, type[msgspec.Struct] | str | None]
    problems: tuple[str, ...] = ()
    body: type[msgspec.Struct] | None = None
    parameters: tuple[Parameter, ...] = field(default=())
    access: Access = Access.OWNER


_SECONDS = {"type": "integer", "minimum": 0, "maximum": parameters.LONGEST_WAIT}
_PAGE = {"type": "integer", "minimum": 1, "maximum": parameters.LARGEST_PAGE}
_PRINTABLE = {"type": "string", "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"}

_TASK_ID = Parameter("task_id", "path", "The id that submitting gave.")
_WAIT = Parameter("wait", "query", "Seconds to wait for news.", _SECONDS)
_HELD = Parameter("If-None-Match", "header", "The entity tag of what the client holds.")
_KEY = Parameter(
    "Idempotency-Key",
    "header",
    "Repeating a request with its key makes no second task.",
    _PRINTABLE,
)
_PREFER = Parameter("Prefer", "header", "wait=N stays up to N seconds (60 at most) for the answer.")
_CURSOR = Parameter("cursor", "query", "The next_cursor of the page before.")
_LIMIT = Parameter("limit", "query", "Tasks on a page.", _PAGE)
_NUMBER = Parameter("number", "path", "Digits or an expression, percent-encoded.")
_NAME = Parameter("name", "path", "The last part of a problem's type.")
_VERSION = Parameter("version", "path", "Changes with every change of any file.")
_FILE = Parameter("file", "path", "The name of a file.")

_BODY = ("bad-request", "body-too-large", "store-unavailable")
_NO_NUMBER = ("not-a-number", "number-too-large", "bad-expression")
_FULL = ("too-many-tasks", "cpu-used-up")
_TASK = ("unknown-task", "store-unavailable")

ROUTES = (
    Route(
        "POST",
        "/factor",
        handlers.submit,
        {202: models.TaskView, 200: models.TaskView},
        (*_BODY, *_NO_NUMBER, "key-reused", *_FULL),
        models.FactorRequest,
        (_KEY, _PREFER),
    ),
    Route(
        "GET", "/get/{task_id}", handlers.get_result, {200: models.Legacy}, _TASK, None, (_TASK_ID,)
    ),
    Route(
        "GET",
        "/tasks/{task_id:(?!batch$)[^/]+}",
        handlers.get_task,
        {200: models.TaskView, 304: None},
        ("bad-request", *_TASK),
        None,
        (_TASK_ID, _WAIT, _HELD),
    ),
    Route(
        "DELETE",
        "/tasks/{task_id:(?!batch$)[^/]+}",
        handlers.cancel_task,
        {200: models.TaskView},
        _TASK,
        None,
        (_TASK_ID,),
    ),
    Route(
        "GET",
        "/tasks",
        handlers.list_tasks,
        {200: models.TaskPage},
        ("bad-request", "store-unavailable"),
        None,
        (_CURSOR, _LIMIT),
    ),
    Route(
        "POST",
        "/tasks/batch",
        handlers.submit_batch,
        {200: models.BatchResult},
        (*_BODY, "batch-too-large", "key-reused", *_FULL),
        models.BatchRequest,
        (_KEY,),
    ),
    Route(
        "GET",
        "/numbers/{number:.+}",
        handlers.get_number,
        {200: models.NumberView},
        (*_NO_NUMBER, "store-unavailable"),
        None,
        (_NUMBER,),
    ),
    Route("GET", "/ws", websocket, {101: None}, ("http-error", "origin-refused")),
    Route("GET", "/healthz", pages.healthz, {200: models.Health}, access=Access.PUBLIC),
    Route(
        "GET",
        "/readyz",
        pages.readyz,
        {200: models.Health, 404: models.Health},
        ("store-unavailable",),
        access=Access.PUBLIC,
    ),
    Route("GET", "/status", pages.status, {200: models.ServiceStatus}, access=Access.OPERATOR),
    Route("GET", "/metrics", pages.metrics, {200: TEXT}, access=Access.OPERATOR),
    Route("GET", "/openapi.json", pages.openapi, {200: JSON_DOCUMENT}, access=Access.PUBLIC),
    Route("GET", "/asyncapi.json", pages.asyncapi, {200: JSON_DOCUMENT}, access=Access.PUBLIC),
    Route("GET", "/docs", pages.docs, {200: HTML, 304: None}, (), None, (_HELD,), Access.PUBLIC),
    Route(
        "GET",
        "/problems/{name}",
        pages.explain_problem,
        {200: TEXT},
        ("not-found",),
        None,
        (_NAME,),
        Access.PUBLIC,
    ),
    Route("GET", "/", pages.home, {200: TEXT, 304: None}, (), None, (_HELD,), Access.PUBLIC),
    Route(
        "GET",
        "/web/{version}/{file}",
        assets.serve,
        {200: ANY, 304: None},
        ("not-found",),
        None,
        (_VERSION, _FILE, _HELD),
        Access.PUBLIC,
    ),
)


def setup_routes(app: web.Application) -> None:
    """Add every call of the table; a GET answers HEAD as well."""
    for route in ROUTES:
        handler = route.handler if route.handler is websocket else _guarded(route)
        app.router.add_route(route.method, route.path, handler)
        if route.method == "GET" and route.handler is not websocket:
            app.router.add_route("HEAD", route.path, handler)


def _guarded(route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Return the handler behind the door: first the key, then its limits, then the call."""

    @functools.wraps(route.handler)
    async def handle(request: web.Request) -> web.StreamResponse:
        async with deadline.bounded(request):
            await admit(request, route.access)
            if route.access is not Access.PUBLIC:
                limits.tell(request, await request.app[LIMITER].request(request[IDENTITY]))
            return await route.handler(request)

    return handle
