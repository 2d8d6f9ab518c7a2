"""The table of calls. The router and the OpenAPI document are both made from it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import msgspec
from aiohttp import web

from gateway.access import Access
from gateway.http import assets, bodies, handlers, middlewares, pages, parameters
from gateway.views import models
from gateway.websocket.session import websocket

TEXT, HTML, ANY = "text/plain", "text/html", "*/*"
JSON_DOCUMENT = "application/json"


@dataclass(frozen=True, slots=True)
class Parameter:
    """Something that a call takes besides its body."""

    name: str
    where: str
    """``path``, ``query`` or ``header``."""
    says: str
    schema: Mapping[str, object] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, slots=True)
class Route:
    """One call."""

    method: str
    path: str
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    answers: Mapping[int, type[msgspec.Struct] | str | None]
    """Maps each status to its model, to its media type, or to None if the answer has no body."""
    problems: tuple[str, ...] = ()
    """Names of the problems that it answers with, besides those of its access."""
    body: type[msgspec.Struct] | None = None
    parameters: tuple[Parameter, ...] = ()
    access: Access = Access.OWNER
    socket: bool = False
    """Whether it becomes a WebSocket: that has no deadline, and its key may come later."""


_SECONDS = {"type": "integer", "minimum": 0, "maximum": parameters.LONGEST_WAIT}
_PAGE = {"type": "integer", "minimum": 1, "maximum": parameters.LARGEST_PAGE}
_PRINTABLE = {"type": "string", "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"}

_TASK_ID = Parameter("task_id", "path", "The id that the service gave when the task was submitted.")
_WAIT = Parameter("wait", "query", "Seconds to wait for news.", _SECONDS)
_HELD = Parameter("If-None-Match", "header", "The entity tag of what the client already has.")
_KEY = Parameter(
    "Idempotency-Key",
    "header",
    "A request that is repeated within a day with the same key creates no second task.",
    _PRINTABLE,
)
_PREFER = Parameter(
    "Prefer", "header", "wait=N waits up to N seconds (at most 60) for the factors."
)
_ERASE = Parameter(
    "erase",
    "query",
    "true erases a task that has ended; without it the task is cancelled.",
    {"type": "boolean"},
)
_CURSOR = Parameter("cursor", "query", "The next_cursor of the previous page.")
_LIMIT = Parameter("limit", "query", "How many tasks a page has.", _PAGE)
_NUMBER = Parameter("number", "path", "Digits or an expression, percent-encoded.")
_NAME = Parameter("name", "path", "The last part of a problem's type.")
_VERSION = Parameter("version", "path", "A digest of all files of the page.")
_FILE = Parameter("file", "path", "The name of a file.")

_BODY = ("bad-request", "too-slow", "body-too-large", "encoded-body", "store-unavailable")
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
        body=models.FactorRequest,
        parameters=(_KEY, _PREFER),
        access=Access.WRITER,
    ),
    Route(
        "GET",
        "/get/{task_id}",
        handlers.get_result,
        {200: models.Legacy},
        _TASK,
        parameters=(_TASK_ID,),
    ),
    Route(
        "GET",
        "/tasks/{task_id:(?!batch$)[^/]+}",
        handlers.get_task,
        {200: models.TaskView, 304: None},
        ("bad-request", *_TASK),
        parameters=(_TASK_ID, _WAIT, _HELD),
    ),
    Route(
        "DELETE",
        "/tasks/{task_id:(?!batch$)[^/]+}",
        handlers.cancel_task,
        {200: models.TaskView, 204: None},
        ("bad-request", "task-in-progress", *_TASK),
        parameters=(_TASK_ID, _ERASE),
        access=Access.WRITER,
    ),
    Route(
        "DELETE",
        "/tasks",
        handlers.erase_tasks,
        {200: models.Erased},
        ("store-unavailable",),
        access=Access.WRITER,
    ),
    Route(
        "GET",
        "/tasks",
        handlers.list_tasks,
        {200: models.TaskPage},
        ("bad-request", "store-unavailable"),
        parameters=(_CURSOR, _LIMIT),
    ),
    Route(
        "POST",
        "/tasks/batch",
        handlers.submit_batch,
        {200: models.BatchResult},
        (*_BODY, "batch-too-large", "key-reused", *_FULL),
        body=models.BatchRequest,
        parameters=(_KEY,),
        access=Access.WRITER,
    ),
    Route(
        "GET",
        "/numbers/{number:.+}",
        handlers.get_number,
        {200: models.NumberView},
        (*_NO_NUMBER, "store-unavailable"),
        parameters=(_NUMBER,),
    ),
    Route("GET", "/ws", websocket, {101: None}, ("upgrade-required",), socket=True),
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
    Route(
        "GET",
        "/docs",
        pages.docs,
        {200: HTML, 304: None},
        parameters=(_HELD,),
        access=Access.PUBLIC,
    ),
    Route(
        "GET",
        "/problems/{name}",
        pages.explain_problem,
        {200: TEXT},
        ("not-found",),
        parameters=(_NAME,),
        access=Access.PUBLIC,
    ),
    Route(
        "GET",
        "/",
        pages.home,
        {200: TEXT, 304: None},
        parameters=(_HELD,),
        access=Access.PUBLIC,
    ),
    Route(
        "GET",
        "/web/{version}/{file}",
        assets.serve,
        {200: ANY, 304: None},
        ("not-found",),
        parameters=(_VERSION, _FILE, _HELD),
        access=Access.PUBLIC,
    ),
)


def setup_routes(app: web.Application) -> None:
    """Add every call of the table to an application. A GET answers HEAD too."""
    for route in ROUTES:
        if route.socket:
            app.router.add_route(route.method, route.path, route.handler)
            continue
        query = [parameter.name for parameter in route.parameters if parameter.where == "query"]
        # Links to pages may carry anything; calls are made by programs, which want to hear of a slip.
        known = None if route.access is Access.PUBLIC else query
        handler = middlewares.guarded(route.handler, route.access, known)
        for method in (route.method, "HEAD") if route.method == "GET" else (route.method,):
            app.router.add_route(method, route.path, handler, expect_handler=bodies.expect)
