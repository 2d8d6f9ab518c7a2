"""Turns every error into an RFC 9457 problem with a stable type; nothing else answers with errors.

FactorlineError
├── RequestError            HTTP adds these
│   ├── BadRequest          400 bad-request
│   ├── UnknownPage         404 not-found
│   ├── BodyTooLarge        413 body-too-large
│   ├── BatchTooLarge       413 batch-too-large
│   ├── Unauthenticated     401 unauthenticated
│   ├── NotAllowed          403 not-allowed
│   ├── OriginRefused       403 origin-refused
│   ├── TooManySockets      429 too-many-sockets
│   └── Limited
│       ├── TooManyRequests 429 too-many-requests
│       ├── TooManyTasks    429 too-many-tasks
│       └── CpuUsedUp       429 cpu-used-up
├── UnknownTask             404 unknown-task
├── KeyReused               422 key-reused
└── Unavailable
    ├── StoreUnavailable    503 store-unavailable
    └── BrokerUnavailable   503 broker-unavailable
NumberError
├── NotANumber              400 not-a-number
├── NumberTooLarge          400 number-too-large
└── ExpressionError         400 bad-expression
aiohttp's HTTPException     not-found, method-not-allowed, body-too-large, http-error
anything else               500 internal-error: a fault of ours, logged
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import structlog
from aiohttp import web

from common import errors
from common.numbers import ExpressionError, NotANumber, NumberError, NumberTooLarge
from gateway.views.models import Problem

log = structlog.stdlib.get_logger(__name__)

CONTENT_TYPE = "application/problem+json"
RETRY_SECONDS = 2
_LONGEST_DETAIL = 1000


class RequestError(errors.FactorlineError):
    """The request cannot be served."""

    headers: Mapping[str, str] = {}
    """Fields that the answer has besides."""


class BadRequest(RequestError):
    """Something in the request cannot be read; the message is a whole sentence that says what."""


class UnknownPage(RequestError):
    """Nothing is served at this path."""

    def __init__(self) -> None:
        super().__init__("There is no such page: /docs lists the calls.")


class BodyTooLarge(RequestError):
    """The body has more bytes than the service accepts."""

    def __init__(self, *, limit: int) -> None:
        super().__init__(
            f"The body is over the limit of {limit} bytes: send less, or several requests."
        )


class BatchTooLarge(RequestError):
    """The batch has more numbers than the service accepts."""

    def __init__(self, *, count: int, limit: int) -> None:
        super().__init__(
            f"The batch has {count} numbers; the limit is {limit}: send several batches."
        )


class Unauthenticated(RequestError):
    """The request has no API key, or not a valid one."""

    def __init__(self, why: str, *, invalid: bool = False) -> None:
        super().__init__(f"{why}. Send an API key as `Authorization: Bearer fl_...`.")
        error = ', error="invalid_token"' if invalid else ""
        self.headers = {"WWW-Authenticate": f'Bearer realm="factorline"{error}'}


class NotAllowed(RequestError):
    """The API key is valid, but does not open this page."""

    headers: Mapping[str, str] = {
        "WWW-Authenticate": 'Bearer realm="factorline", error="insufficient_scope"'
    }

    def __init__(self, *, path: str) -> None:
        super().__init__(
            f"{path} is for operators: use a key that was made with `factorline keys make --operator`."
        )


class OriginRefused(RequestError):
    """A page of another site tried to open a WebSocket."""

    def __init__(self, *, origin: str) -> None:
        super().__init__(
            f"Pages of {origin} may not open WebSockets here. The operator can allow it "
            "in FACTORLINE_ORIGINS."
        )


class TooManySockets(RequestError):
    """The key has as many WebSockets open as it may."""

    def __init__(self, *, limit: int) -> None:
        super().__init__(f"This key has {limit} WebSockets open, which is its limit: close some.")


class Limited(RequestError):
    """A limit of the key is reached; ``headers`` say when to come back."""

    def __init__(self, message: str, *, headers: Mapping[str, str]) -> None:
        super().__init__(message)
        self.headers = headers


class TooManyRequests(Limited):
    """The key made more requests than its rate allows."""

    def __init__(self, *, rate: float, headers: Mapping[str, str]) -> None:
        super().__init__(
            f"This key may make {rate:g} requests a second: come back after the number of seconds "
            "in Retry-After.",
            headers=headers,
        )


class TooManyTasks(Limited):
    """The key has too many tasks in progress for these to be accepted."""

    def __init__(self, *, limit: int, left: int, count: int, headers: Mapping[str, str]) -> None:
        super().__init__(
            f"This key may have {limit} tasks in progress, and there is room for {left} of "
            f"these {count}.",
            headers=headers,
        )


class CpuUsedUp(Limited):
    """The key's CPU seconds of the day are used up."""

    def __init__(self, *, limit: float, headers: Mapping[str, str]) -> None:
        super().__init__(
            f"This key may use {limit:g} CPU seconds a day (UTC), and today's are used up.",
            headers=headers,
        )


class Kind(NamedTuple):
    """One type of problem; its URI is ``/problems/`` and the name."""

    name: str
    status: int
    title: str
    advice: str


_AS_IS = "The same request will fail again: change it as the detail says."
_LATER = "The service is not well. Repeat the request after the seconds in Retry-After."

_KEY = "See docs/how-to/keys.md. The client and the command read the key from FACTORLINE_API_KEY."
_SLOWER = "Repeat the request after the seconds in Retry-After; RateLimit says what is left."

_KINDS: list[tuple[type[Exception], Kind]] = [
    (NotANumber, Kind("not-a-number", 400, "This is not a number", _AS_IS)),
    (NumberTooLarge, Kind("number-too-large", 400, "The number is too large", _AS_IS)),
    (ExpressionError, Kind("bad-expression", 400, "The expression has no value", _AS_IS)),
    (UnknownPage, Kind("not-found", 404, "There is no such page", "See /docs.")),
    (BodyTooLarge, Kind("body-too-large", 413, "The body is too large", _AS_IS)),
    (BatchTooLarge, Kind("batch-too-large", 413, "The batch is too large", _AS_IS)),
    (BadRequest, Kind("bad-request", 400, "The request cannot be read", _AS_IS)),
    (Unauthenticated, Kind("unauthenticated", 401, "This needs an API key", _KEY)),
    (NotAllowed, Kind("not-allowed", 403, "This key does not open that", _KEY)),
    (OriginRefused, Kind("origin-refused", 403, "Pages of that site may not connect", _KEY)),
    (TooManySockets, Kind("too-many-sockets", 429, "The key has too many sockets", _AS_IS)),
    (TooManyRequests, Kind("too-many-requests", 429, "Too many requests", _SLOWER)),
    (TooManyTasks, Kind("too-many-tasks", 429, "Too many tasks in progress", _SLOWER)),
    (CpuUsedUp, Kind("cpu-used-up", 429, "The CPU time of the day is used up", _SLOWER)),
    (
        errors.UnknownTask,
        Kind("unknown-task", 404, "There is no such task", "Check the id; it must be yours."),
    ),
    (
        errors.KeyReused,
        Kind("key-reused", 422, "The Idempotency-Key was used for another number", _AS_IS),
    ),
    (errors.StoreUnavailable, Kind("store-unavailable", 503, "The store is down", _LATER)),
    (errors.BrokerUnavailable, Kind("broker-unavailable", 503, "The broker is down", _LATER)),
]
_METHOD = Kind("method-not-allowed", 405, "The method does not fit the page", "See Allow.")
_HTTP = Kind("http-error", 400, "The request cannot be served", _AS_IS)
_INTERNAL = Kind("internal-error", 500, "A fault of ours", "It was logged. Please report it.")

KINDS = {kind.name: kind for kind in (*(kind for _, kind in _KINDS), _METHOD, _HTTP, _INTERNAL)}


def _kind_of(error: Exception) -> Kind:
    return next((kind for sort, kind in _KINDS if isinstance(error, sort)), _INTERNAL)


def name_of(error: Exception) -> str:
    """Return the last part of the type of the problem that an error is."""
    return _kind_of(error).name


def problem_of(error: Exception) -> Problem:
    """Return the problem that tells an error to the client."""
    kind = _kind_of(error)
    detail = kind.advice if kind is _INTERNAL else str(error)
    return Problem(
        type=f"/problems/{kind.name}",
        title=kind.title,
        status=kind.status,
        detail=_printable(detail),
        position=error.position if isinstance(error, NumberError) else None,
        limit_digits=error.limit_digits if isinstance(error, NumberTooLarge) else None,
    )


def response_of(error: Exception) -> web.Response:
    """Return the response that an error makes."""
    if isinstance(error, web.HTTPException):
        return _response_of_aiohttp(error)
    problem = problem_of(error)
    if problem.type == f"/problems/{_INTERNAL.name}":
        log.error("A request met a fault of ours", exc_info=error)
    response = _response(problem)
    if isinstance(error, RequestError):
        response.headers.update(error.headers)
    if isinstance(error, errors.Unavailable):
        response.headers["Retry-After"] = str(RETRY_SECONDS)
    return response


def _response_of_aiohttp(error: web.HTTPException) -> web.Response:
    if isinstance(error, web.HTTPNotFound):
        return response_of(UnknownPage())
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        problem = _problem(_METHOD, _METHOD.status, f"Allowed: {allowed}.")
        response = _response(problem)
        response.headers["Allow"] = allowed
        return response
    return _response(_problem(_HTTP, error.status, error.text or error.reason))


def _problem(kind: Kind, status: int, detail: str) -> Problem:
    return Problem(
        type=f"/problems/{kind.name}", title=kind.title, status=status, detail=_printable(detail)
    )


def _response(problem: Problem) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(problem), status=problem.status, content_type=CONTENT_TYPE
    )


def _printable(detail: str) -> str:
    """Return text that UTF-8 can hold (no lone surrogates), and not too much of it."""
    return detail[:_LONGEST_DETAIL].encode("utf-8", "backslashreplace").decode()
