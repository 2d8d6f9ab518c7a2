"""What the client does when told to wait, to stay away, or something that cannot be true."""

import math
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import WSCloseCode, web
from aiohttp.test_utils import TestServer

from factorline import Client, watching
from factorline.backoff import Advice, Backoff, advice, retry_after_s
from factorline.errors import NotAllowed, NotFactorline, Refused, Unavailable, WrongAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

TASK_ID = "11111111-2222-4333-8444-555555555555"


def task(*, done: bool, version: int, **changes: Any) -> dict[str, Any]:
    """Return a task for 15 as a service shows it."""
    factors = [{"prime": p, "exponent": 1, "certainty": "proven"} for p in ("3", "5")]
    return {
        "task_id": TASK_ID,
        "number": "15",
        "expression": "15",
        "status": "succeeded" if done else "running",
        "done": done,
        "result": "3,5" if done else None,
        "factors": factors if done else [],
        "composites": [],
        "progress": {"stage": "done" if done else "survey"},
        "reason": None,
        "version": version,
        "created_at": "2026-01-01T00:00:00.000+00:00",
        "ended_at": None,
        "links": {"self": "", "number": "", "legacy": ""},
        **changes,
    }


class Pretender:
    """A fake service that answers from a script and records the requests."""

    def __init__(self) -> None:
        self.answers: list[web.Response] = []
        self.sockets: list[Callable[[web.WebSocketResponse], Any]] = []
        self.requests: list[web.Request] = []
        self.opened = 0
        app = web.Application()
        app.router.add_get("/ws", self._socket)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self.server = TestServer(app)

    async def _answer(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        return self.answers.pop(0)

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        self.opened += 1
        socket = web.WebSocketResponse(protocols=("factorline.v1",))
        await socket.prepare(request)
        await socket.send_json(
            {"type": "hello", "heartbeat_s": 20, "limits": {"subscriptions": 10, "frame_bytes": 1}}
        )
        await self.sockets.pop(0)(socket)
        return socket


@pytest.fixture
async def pretender() -> Any:
    """Yield a running fake service."""
    made = Pretender()
    async with made.server:
        yield made


def client_of(pretender: Pretender, **options: Any) -> Client:
    """Return a client of a fake service."""
    return Client(str(pretender.server.make_url("/")), **options)


async def closes(socket: web.WebSocketResponse, code: int) -> None:
    """Close at the first subscription."""
    await socket.receive()
    await socket.close(code=code)


async def tells_the_end(socket: web.WebSocketResponse) -> None:
    """Answer a subscription with a final state, more than once."""
    await socket.receive()
    for kind in ("snapshot", "done", "done"):
        await socket.send_json({"type": kind, "task": task(done=True, version=3)})
    await socket.receive()


def json(value: Any, status: int = 200, **headers: str) -> web.Response:
    """Return a response, which is a problem if its status is an error."""
    kind = "application/problem+json" if status >= 400 else "application/json"
    return web.json_response(value, status=status, headers=headers, content_type=kind)


def problem(status: int, **headers: str) -> web.Response:
    """Return a problem."""
    said = {"type": "/problems/x", "title": "x", "status": status, "detail": "because."}
    return json(said, status, **headers)


@pytest.mark.parametrize("code", [WSCloseCode.GOING_AWAY, 1012, 4200, 4299])
async def test_close_codes_that_ask_to_reconnect(pretender: Pretender, code: int) -> None:
    """The next socket is opened without polling in between."""
    pretender.sockets = [lambda socket: closes(socket, code), tells_the_end]
    async with client_of(pretender) as client:
        assert (await client.wait(TASK_ID)).succeeded

    assert (2, []) == (pretender.opened, pretender.requests)


@pytest.mark.parametrize("code", [4001, 4003, 4100, 4102])
async def test_close_codes_that_ask_to_stay_away_or_back_off(
    pretender: Pretender, code: int
) -> None:
    """No other socket is opened; the answer comes by polling."""
    pretender.sockets = [lambda socket: closes(socket, code)]
    pretender.answers = [
        json(task(done=False, version=1)),
        web.Response(status=304),
        json(task(done=True, version=3)),
    ]
    async with client_of(pretender) as client:
        states = [state async for state in client.watch(TASK_ID)]

    assert 1 == pretender.opened
    assert [1, 3] == [state.version for state in states]
    assert '"1"' == pretender.requests[-1].headers["If-None-Match"]


def test_every_close_code_has_its_advice() -> None:
    """Each family has its own; a lost connection is a reason to retry."""
    assert [Advice.STAY_AWAY, Advice.BACK_OFF, Advice.RECONNECT, Advice.RECONNECT] == [
        advice(code) for code in (4001, 4101, 4200, 1012)
    ]
    assert [Advice.RETRY] * 3 == [advice(code) for code in (None, 1006, 1000)]


async def test_retry_after_is_obeyed(pretender: Pretender) -> None:
    """503 and 429 are retried after Retry-After, with the same Idempotency-Key."""
    pretender.answers = [
        problem(503, **{"Retry-After": "0"}),
        problem(429),
        web.Response(status=502),
        json(task(done=True, version=3), 202),
    ]
    async with client_of(pretender) as client:
        assert [3, 5] == (await client.submit(15)).primes

    keys = {request.headers["Idempotency-Key"] for request in pretender.requests}
    assert (4, 1) == (len(pretender.requests), len(keys))


async def test_a_retry_after_beyond_the_limit_is_an_error(pretender: Pretender) -> None:
    """The error is raised at once, and has the reason that the service gives."""
    pretender.answers = [problem(503, **{"Retry-After": "100"})]
    async with client_of(pretender, retry_for_s=5.0) as client:
        with pytest.raises(Unavailable, match=r"503.*because") as caught:
            await client.submit(15)

    assert 100 == caught.value.retry_after_s
    assert 1 == len(pretender.requests)


async def test_a_batch_that_is_too_large_is_split(pretender: Pretender) -> None:
    """Each half has its own Idempotency-Key, and the caller gets one list of results."""

    def half(*values: int) -> dict[str, Any]:
        items = [
            {"index": i, "task": task(done=False, version=1, number=str(value))}
            for i, value in enumerate(values)
        ]
        return {"accepted": len(items), "refused": 0, "items": items}

    pretender.answers = [problem(413), json(half(4)), json(half(6, 8))]
    async with client_of(pretender) as client:
        items = await client.batch([4, "6", 8])

    assert [(0, "4"), (1, "6"), (2, "8")] == [
        (item.index, item.task.number) for item in items if item.task
    ]
    assert 3 == len({request.headers["Idempotency-Key"] for request in pretender.requests})


async def test_the_api_key_is_sent(pretender: Pretender, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is sent as a bearer token, and a key that is refused has its own error."""
    monkeypatch.setenv("FACTORLINE_API_KEY", "from the environment")
    pretender.answers = [problem(401), problem(403)]
    for key in (None, "given"):
        async with client_of(pretender, api_key=key) as client:
            with pytest.raises(NotAllowed, match="because"):
                await client.get(TASK_ID)

    sent = [request.headers["Authorization"] for request in pretender.requests]
    assert ["Bearer from the environment", "Bearer given"] == sent


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(text="<html>", content_type="text/html"),
        web.Response(status=404, text="nginx"),
        web.Response(status=301, headers={"Location": "https://elsewhere.example/"}),
        web.json_response({"task_id": 5}),
        web.json_response([]),
    ],
)
async def test_other_programs_are_recognized(pretender: Pretender, answer: web.Response) -> None:
    """A response that is not a task is an error."""
    pretender.answers = [answer]
    async with client_of(pretender) as client:
        with pytest.raises(NotFactorline, match="FACTORLINE_URL"):
            await client.get(TASK_ID)


SEVEN = {"prime": "7", "exponent": 1, "certainty": "proven"}
NINE = {"value": "9", "exponent": 1, "digits": 1, "certainty": "composite"}


@pytest.mark.parametrize(
    "lie",
    [
        {"factors": [SEVEN]},
        {"factors": [], "composites": [NINE]},
        {"result": "3,7"},
        {"result": None},
        {"number": "16"},
        {"number": "1", "factors": [], "result": None},
        {"factors": [], "composites": [{**NINE, "value": "15"}]},
    ],
)
async def test_wrong_answers_raise(pretender: Pretender, lie: dict[str, Any]) -> None:
    """Every call refuses an answer whose factors do not multiply to its number."""
    wrong = task(done=True, version=3, **lie)
    pretender.answers = [json(wrong, 202), json(wrong)]
    pretender.sockets = [lambda socket: _tells(socket, wrong)]
    async with client_of(pretender) as client:
        for call in (client.submit(15), client.get(TASK_ID), client.wait(TASK_ID)):
            with pytest.raises(WrongAnswer):
                await call


async def _tells(socket: web.WebSocketResponse, shown: dict[str, Any]) -> None:
    await socket.receive()
    await socket.send_json({"type": "done", "task": shown})
    await socket.receive()


async def test_junk_on_the_socket(pretender: Pretender) -> None:
    """A frame that cannot be decoded ends the socket, but not the watch."""

    async def babbles(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.send_str("{")
        await socket.receive()

    pretender.sockets = [babbles, tells_the_end]
    async with client_of(pretender) as client:
        assert (await client.wait(TASK_ID)).succeeded


async def test_a_socket_that_falls_silent_is_replaced(
    pretender: Pretender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dead connection delays the answer, but does not lose it."""
    monkeypatch.setattr(watching, "QUIET_SECONDS", 0.05)

    async def is_silent(socket: web.WebSocketResponse) -> None:
        while not socket.closed:
            await socket.receive()

    pretender.sockets = [is_silent, tells_the_end]
    async with client_of(pretender) as client:
        assert (await client.wait(TASK_ID)).succeeded

    assert 2 == pretender.opened


async def test_a_fault_of_the_service_is_retried(pretender: Pretender) -> None:
    """A 5xx problem on the socket is retried; a 4xx problem is about the task, and is raised."""

    async def fails(socket: web.WebSocketResponse, status: int) -> None:
        await socket.receive()
        said = {"type": "/problems/x", "title": "x", "status": status, "detail": "because."}
        await socket.send_json({"type": "error", "task_id": TASK_ID, "problem": said})
        await socket.receive()

    pretender.sockets = [lambda socket: fails(socket, 503), lambda socket: fails(socket, 404)]
    async with client_of(pretender) as client:
        with pytest.raises(Refused, match="because"):
            await client.wait(TASK_ID)

    assert 2 == pretender.opened


async def test_new_members_and_statuses_are_ignored(pretender: Pretender) -> None:
    """A newer service may send members and statuses that this client does not know."""
    pretender.answers = [json(task(done=True, version=1, status="postponed", more=[1]))]
    async with client_of(pretender) as client:
        assert not (await client.get(TASK_ID)).succeeded


def test_jitter_is_full_and_bounded() -> None:
    """Pauses are spread between the minimum asked for and a bound that doubles up to a maximum."""
    backoff = Backoff(1.0, 8.0)
    for tries in range(6):
        bound = min(8.0, 2.0**tries)
        draws = []
        for _ in range(200):
            again = Backoff(1.0, 8.0)
            for _ in range(tries):
                again.next_s()
            draws.append(again.next_s())
        assert 0 <= min(draws) < 0.3 * bound
        assert 0.7 * bound < max(draws) <= bound
    assert 5 <= backoff.next_s(at_least_s=5) <= 6


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, 0), ("", 0), ("7", 7), ("soon", 0), ("-5", 0), ("9" * 30, 3600)],
)
def test_retry_after_in_seconds(header: str | None, seconds: float) -> None:
    """Seconds are capped; an invalid value counts as 0."""
    assert seconds == retry_after_s(header)


def test_retry_after_may_be_a_date() -> None:
    """It means the time until then; a date in the past counts as 0."""
    assert 0 == retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT")
    assert math.isclose(3600, retry_after_s("Wed, 21 Oct 2099 07:28:00 GMT"))
