"""The errors of the gateway, and the table that turns every error into a problem (RFC 9457).

FactorlineError
├── RequestError            the gateway's own
│   ├── BadRequest          400 bad-request
│   ├── NotHttp             400 http-error
│   ├── UnknownPage         404 not-found
│   ├── TooSlow             408 too-slow
│   ├── BodyTooLarge        413 body-too-large
│   ├── BatchTooLarge       413 batch-too-large
│   ├── EncodedBody         415 encoded-body
│   ├── UpgradeRequired     426 upgrade-required
│   ├── HeaderTooLarge      431 header-too-large
│   ├── TooManyConnections  503 too-many-connections
│   ├── Unauthenticated     401 unauthenticated
│   ├── NotAllowed          403 not-allowed
│   ├── OriginRefused       403 origin-refused
│   ├── HostRefused         421 host-refused
│   ├── TooManySockets      429 too-many-sockets
│   └── Limited
│       ├── TooManyRequests 429 too-many-requests
│       ├── TooManyTasks    429 too-many-tasks
│       └── CpuUsedUp       429 cpu-used-up
├── NumberError
│   ├── NotANumber          400 not-a-number
│   ├── NumberTooLarge      400 number-too-large
│   └── ExpressionError     400 bad-expression
├── UnknownTask             404 unknown-task
├── KeyReused               422 key-reused
└── Unavailable
    ├── StoreUnavailable    503 store-unavailable
    └── BrokerUnavailable   503 broker-unavailable
aiohttp's HTTPException     not-found, method-not-allowed, http-error (see gateway.http.responses)
anything else               500 internal-error

`str(error)` becomes the problem's ``detail``: one or two sentences that say what happened and what to do.
"""

from collections.abc import Mapping
from typing import NamedTuple

from msgspec.structs import replace

from common import errors
from common.numbers import ExpressionError, NotANumber, NumberError, NumberTooLarge
from gateway.views.models import Problem

CONTENT_TYPE = "application/problem+json"
_LONGEST_DETAIL = 1000
_LONGEST_NAME = 100


class RequestError(errors.FactorlineError):
    """A request that cannot be fulfilled as it is."""

    headers: Mapping[str, str] = {}
    """Header fields that the answer gets."""


class BadRequest(RequestError):
    """Something in the request cannot be understood; the message is a sentence that says what."""


class NotHttp(RequestError):
    """What came is not a request of HTTP/1.1; the message is a sentence that says what is wrong."""


class UnknownPage(RequestError):
    """Nothing is served at this path."""

    def __init__(self, *, meant: str | None = None) -> None:
        hint = "/docs lists the calls" if meant is None else f"perhaps you mean {meant}"
        super().__init__(f"There is nothing at this address; {hint}.")


class TooSlow(RequestError):
    """A part of the request did not arrive in time."""

    def __init__(self, *, what: str, seconds: float) -> None:
        super().__init__(
            f"{what} of the request did not arrive within {seconds:g} seconds. Send it faster, or "
            "in several smaller requests."
        )


class BodyTooLarge(RequestError):
    """The body has more bytes than the service accepts."""

    def __init__(self, *, limit: int) -> None:
        super().__init__(
            f"The body is larger than the limit of {limit} bytes. Split it into several requests."
        )


class BatchTooLarge(RequestError):
    """The batch has more numbers, or more work in its expressions, than the service accepts."""

    def __init__(self, why: str) -> None:
        super().__init__(f"{why}. Split it into several batches.")


class EncodedBody(RequestError):
    """The body is compressed, or encoded in another way."""

    headers: Mapping[str, str] = {"Accept-Encoding": "identity"}

    def __init__(self, *, encoding: str) -> None:
        super().__init__(
            f"The body is sent with `Content-Encoding: {encoding}`. Send it without an encoding: "
            "compressed bodies are not accepted."
        )


class UpgradeRequired(RequestError):
    """An ordinary request came to the address of the WebSocket."""

    headers: Mapping[str, str] = {"Upgrade": "websocket"}

    def __init__(self) -> None:
        super().__init__(
            "This is the address of a WebSocket. Open it with a WebSocket client; for ordinary "
            "requests, /docs lists the calls."
        )


class HeaderTooLarge(RequestError):
    """The request line or the header is larger than the service accepts."""

    def __init__(self, *, limit: int, fields: int) -> None:
        super().__init__(
            f"The request line and each header field may have {limit} bytes, and there may be "
            f"{fields} fields. Send a long number in the body of a POST."
        )


class TooManyConnections(RequestError):
    """Every connection that the gateway can have is in use."""

    headers: Mapping[str, str] = {"Retry-After": "5"}

    def __init__(self) -> None:
        super().__init__("All connections of this gateway are in use. Try again in a few seconds.")


class TaskInProgress(RequestError):
    """A task that has not ended was to be erased."""

    def __init__(self) -> None:
        super().__init__(
            "This task has not ended. Cancel it first (DELETE without `erase`), then erase it."
        )


class Unauthenticated(RequestError):
    """The request has no API key, or one that is not valid."""

    def __init__(self, why: str, *, invalid: bool = False) -> None:
        super().__init__(f"{why}. Send an API key as `Authorization: Bearer fl_...`.")
        error = ', error="invalid_token"' if invalid else ""
        self.headers = {"WWW-Authenticate": f'Bearer realm="factorline"{error}'}


class NotAllowed(RequestError):
    """The API key is valid, and the route is for operators."""

    headers: Mapping[str, str] = {
        "WWW-Authenticate": 'Bearer realm="factorline", error="insufficient_scope"'
    }

    def __init__(self) -> None:
        super().__init__(
            "This page is for operators: use a key that was made with `factorline keys make --operator`."
        )


class ReadOnlyKey(NotAllowed):
    """The API key is valid, and may neither submit nor cancel."""

    def __init__(self) -> None:
        RequestError.__init__(
            self,
            "This API key is read-only: it can neither submit numbers nor cancel tasks. Use a key that was "
            "made without --read-only.",
        )


class OriginRefused(RequestError):
    """A web page of another site has sent the request."""

    def __init__(self, *, origin: str | None) -> None:
        who = "other sites" if origin is None else origin[:_LONGEST_NAME]
        super().__init__(
            f"Web pages of {who} may not use this service. The operator can allow it "
            "with FACTORLINE_ORIGINS."
        )


class HostRefused(RequestError):
    """The request is for a name that may be an attacker's."""

    def __init__(self, *, host: str) -> None:
        super().__init__(
            "Without API keys this service answers to localhost and loopback addresses, and not to "
            f"{host[:_LONGEST_NAME]!r}. If it should, add the name to FACTORLINE_HOSTS, or set "
            "FACTORLINE_KEYS=true."
        )


class TooManySockets(RequestError):
    """The key has as many WebSockets open as it may have."""

    def __init__(self, *, limit: int) -> None:
        super().__init__(
            f"This API key has {limit} WebSockets open, which is its limit. Close one first."
        )


class Limited(RequestError):
    """A limit of the API key is reached; ``headers`` say when to try again."""

    def __init__(self, message: str, *, headers: Mapping[str, str]) -> None:
        super().__init__(message)
        self.headers = headers


class TooManyRequests(Limited):
    """The key makes more requests than its rate allows."""

    def __init__(self, *, rate: float, headers: Mapping[str, str]) -> None:
        super().__init__(
            f"This API key may make {rate:g} requests per second. Wait for the number of seconds "
            "in Retry-After.",
            headers=headers,
        )


class TooManyTasks(Limited):
    """The owner has too many tasks in progress for these to be accepted."""

    def __init__(self, *, limit: int, left: int, count: int, headers: Mapping[str, str]) -> None:
        super().__init__(
            f"This API key may have {limit} tasks in progress. There is room for {left} more, and "
            f"the request needs {count}.",
            headers=headers,
        )


class CpuUsedUp(Limited):
    """The owner's CPU seconds of the day are used up."""

    def __init__(self, *, limit: float, headers: Mapping[str, str]) -> None:
        super().__init__(
            f"This API key may use {limit:g} CPU seconds per day (UTC), and today's are used up.",
            headers=headers,
        )


class Kind(NamedTuple):
    """One type of problem. Its URI is ``/problems/`` and the name."""

    name: str
    status: int
    title: str
    advice: str


_FIX = "Change the request as the detail says: sent again unchanged, it will fail again."
_RETRY = "This is usually over soon. Repeat the request after the seconds in Retry-After."
_KEY = "See docs/how-to/keys.md. The Python client and the command read the key from FACTORLINE_API_KEY."
_SLOWER = (
    "Repeat the request after the seconds in Retry-After. The header RateLimit says what is left."
)

_REPEAT = "Repeat the request. If it happens again, send less at once."
HTTP_ERROR = Kind("http-error", 400, "The HTTP request cannot be served", _FIX)
"""Its status is that of aiohttp's error."""

_KINDS: list[tuple[type[Exception], Kind]] = [
    (NotANumber, Kind("not-a-number", 400, "This is not a number", _FIX)),
    (NumberTooLarge, Kind("number-too-large", 400, "The number is too large", _FIX)),
    (ExpressionError, Kind("bad-expression", 400, "The expression cannot be evaluated", _FIX)),
    (NotHttp, HTTP_ERROR),
    (UnknownPage, Kind("not-found", 404, "Not found", "/docs lists the calls of this service.")),
    (TooSlow, Kind("too-slow", 408, "The request came too slowly", _REPEAT)),
    (BodyTooLarge, Kind("body-too-large", 413, "The request's body is too large", _FIX)),
    (BatchTooLarge, Kind("batch-too-large", 413, "The batch is too large", _FIX)),
    (EncodedBody, Kind("encoded-body", 415, "The body is compressed", _FIX)),
    (
        UpgradeRequired,
        Kind(
            "upgrade-required",
            426,
            "This is the address of a WebSocket",
            "Connect with a WebSocket client: see docs/reference/websocket.md.",
        ),
    ),
    (HeaderTooLarge, Kind("header-too-large", 431, "The request's header is too large", _FIX)),
    (
        TooManyConnections,
        Kind("too-many-connections", 503, "All connections are in use", _RETRY),
    ),
    (BadRequest, Kind("bad-request", 400, "The request is not valid", _FIX)),
    (Unauthenticated, Kind("unauthenticated", 401, "A valid API key is required", _KEY)),
    (NotAllowed, Kind("not-allowed", 403, "This API key does not give access to that", _KEY)),
    (
        OriginRefused,
        Kind(
            "origin-refused",
            403,
            "Web pages of this origin may not use the service",
            "Ask the operator to add the origin to FACTORLINE_ORIGINS.",
        ),
    ),
    (
        HostRefused,
        Kind(
            "host-refused",
            421,
            "The service does not answer to this name",
            "Call it as localhost, or ask the operator to add the name to FACTORLINE_HOSTS.",
        ),
    ),
    (
        TooManySockets,
        Kind(
            "too-many-sockets",
            429,
            "Too many WebSockets for this API key",
            "Close a WebSocket, or follow several tasks over one.",
        ),
    ),
    (TaskInProgress, Kind("task-in-progress", 409, "The task is in progress", _FIX)),
    (TooManyRequests, Kind("too-many-requests", 429, "Too many requests", _SLOWER)),
    (TooManyTasks, Kind("too-many-tasks", 429, "Too many tasks in progress", _SLOWER)),
    (CpuUsedUp, Kind("cpu-used-up", 429, "Today's CPU time is used up", _SLOWER)),
    (
        errors.UnknownTask,
        Kind(
            "unknown-task",
            404,
            "There is no such task",
            "Check the id, and that you use an API key of the owner who submitted the task.",
        ),
    ),
    (
        errors.KeyReused,
        Kind("key-reused", 422, "This Idempotency-Key was used for another request", _FIX),
    ),
    (
        errors.StoreUnavailable,
        Kind("store-unavailable", 503, "The service's database does not answer", _RETRY),
    ),
    (
        errors.BrokerUnavailable,
        Kind("broker-unavailable", 503, "The service's message broker does not answer", _RETRY),
    ),
]
METHOD_NOT_ALLOWED = Kind(
    "method-not-allowed", 405, "Method not allowed", "Use one of the methods in the header Allow."
)
INTERNAL_ERROR = Kind(
    "internal-error",
    500,
    "Internal error",
    "This is a fault in the service. It has been logged; please report it.",
)

KINDS = {
    kind.name: kind for kind in (*(kind for _, kind in _KINDS), METHOD_NOT_ALLOWED, INTERNAL_ERROR)
}


def _kind_of(error: Exception) -> Kind:
    return next((kind for sort, kind in _KINDS if isinstance(error, sort)), INTERNAL_ERROR)


def name_of(error: Exception) -> str:
    """Return the last part of the type of the problem that an error becomes."""
    return _kind_of(error).name


def of_kind(kind: Kind, detail: str) -> Problem:
    """Return a problem of a kind."""
    return Problem(
        type=f"/problems/{kind.name}",
        title=kind.title,
        status=kind.status,
        detail=_printable(detail),
    )


def problem_of(error: Exception) -> Problem:
    """Return the problem that tells a client of an error. Unexpected errors keep their text to themselves."""
    kind = _kind_of(error)
    problem = of_kind(kind, kind.advice if kind is INTERNAL_ERROR else str(error))
    if not isinstance(error, NumberError):
        return problem
    limit = error.limit_digits if isinstance(error, NumberTooLarge) else None
    return replace(problem, position=error.position, limit_digits=limit)


def _printable(detail: str) -> str:
    """Return a text that UTF-8 can encode (no lone surrogates), cut to a sensible length."""
    return detail[:_LONGEST_DETAIL].encode("utf-8", "backslashreplace").decode()
