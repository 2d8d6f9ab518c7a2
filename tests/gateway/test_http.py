"""The HTTP calls, over the real embedded store and broker."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from msgspec.structs import replace
from structlog.testing import capture_logs

from common import errors
from common.broker import Queue
from common.broker.memory import MemoryBroker
from common.domain import Task, new_task_id
from common.lifecycle import new_task
from common.runtime.settings import Settings
from common.store.sqlite import SqliteStore
from gateway.app import create_app
from gateway.context import READINESS
from gateway.http import deadline, handlers
from tests.gateway.work import finish, part

HARD = 10**30 + 57

Client = TestClient[web.Request, web.Application]

UNKNOWN = "3dc1aa2d-74eb-43b8-9360-f9f402b085f1"
"""The id of a task that never was."""


async def submit(client: Client, number: object, **headers: str) -> dict[str, Any]:
    """Post a number and return the task."""
    response = await client.post("/factor", json={"number": number}, headers=headers)
    assert response.status in {200, 202}, await response.text()
    task: dict[str, Any] = await response.json()
    return task


async def problem(response: Any) -> tuple[int, str]:
    """Return the status and the type of a problem."""
    assert response.content_type == "application/problem+json"
    body = await response.json()
    assert response.status == body["status"]
    return body["status"], body["type"]


@pytest.mark.usefixtures("every_number_queued")
async def test_a_number_goes_all_the_way(
    client: Client, store: SqliteStore, broker: MemoryBroker
) -> None:
    """Submitting answers at once; /get says Calculating and, later, the factors."""
    response = await client.post("/factor", data=b'{"number": 1234}')
    task = await response.json()
    get = f"/get/{task['task_id']}"

    assert 202 == response.status
    assert ("queued", False) == (task["status"], task["done"])
    assert f"/tasks/{task['task_id']}" == response.headers["Location"]
    assert "1" == response.headers["Retry-After"]
    assert 1 == await broker.depth(Queue.SURVEY)
    assert {"result": "Calculating..."} == await (await client.get(get)).json()

    await finish(store, broker, 1234, part(2), part(617))

    assert {"result": "2,617"} == await (await client.get(get)).json()
    shown = await (await client.get(response.headers["Location"])).json()
    assert ("succeeded", True, "2,617") == (shown["status"], shown["done"], shown["result"])


@pytest.mark.parametrize(
    ("sent", "number"),
    [
        ("1234", "1234"),
        ("2^128+1", str(2**128 + 1)),
        (2**4000 % 10**1000, str(2**4000 % 10**1000)),
        (-5, "-5"),
    ],
)
async def test_integers_and_expressions_are_read_exactly(
    client: Client, sent: object, number: str
) -> None:
    """No integer goes through a float, however large."""
    assert number == (await submit(client, sent))["number"]


async def test_trivial_numbers_are_done_at_once(client: Client) -> None:
    """0, 1 and -1 need no worker."""
    for number in (0, 1, -1):
        task = await submit(client, number)
        assert (True, str(number)) == (task["done"], task["result"])


@pytest.mark.usefixtures("every_number_queued")
async def test_a_known_number_is_answered_at_once(
    client: Client, store: SqliteStore, broker: MemoryBroker
) -> None:
    """A new task for a number that is factored already has succeeded when it is created."""
    await submit(client, 15)
    await finish(store, broker, 15, part(3), part(5))

    assert "-1,3,5" == (await submit(client, -15))["result"]


async def test_idempotency_key_makes_one_task(client: Client) -> None:
    """Repeating makes no second task. The same key for another number, and an invalid key, are refused."""
    key = {"Idempotency-Key": "order 66"}
    first = await submit(client, 91, **key)

    assert first["task_id"] == (await submit(client, "7*13", **key))["task_id"]
    assert first["task_id"] != (await submit(client, 91))["task_id"]
    other = await client.post("/factor", json={"number": 92}, headers=key)
    assert (422, "/problems/key-reused") == await problem(other)
    for bad in ("", "x" * 256, "é"):
        response = await client.post(
            "/factor", json={"number": 5}, headers={"Idempotency-Key": bad}
        )
        assert (400, "/problems/bad-request") == await problem(response)


async def batch(client: Client, numbers: Sequence[object], key: str) -> tuple[int, list[str]]:
    """Post a batch under a key; return the status, and the ids of its tasks."""
    headers = {"Idempotency-Key": key}
    response = await client.post("/tasks/batch", json={"numbers": numbers}, headers=headers)
    items = (await response.json()).get("items", [])
    return response.status, [item["task"]["task_id"] for item in items if "task" in item]


async def count_tasks(client: Client) -> int:
    """Return how many tasks there are."""
    return len((await (await client.get("/tasks")).json())["tasks"])


async def test_a_batch_is_the_same_only_as_a_whole(client: Client) -> None:
    """Longer, shorter, in another order, with another number: refused before anything is inserted."""
    first = await batch(client, ["15", "x", "21"], "k")

    assert (200, 2) == (first[0], len(first[1]))
    assert first == await batch(client, ["3*5", "y", 21], "k")
    for other in (["33", "35", "2^331-1"], ["15", "x", "21", "33"], ["15"], ["21", "x", "15"]):
        assert (422, []) == await batch(client, other, "k")
    assert (422, []) == await batch(client, ["15", "21"], "k")
    assert 2 == await count_tasks(client)


async def test_keys_of_batches_and_of_single_numbers_are_apart(client: Client) -> None:
    """Whatever the keys look like."""
    await submit(client, 91, **{"Idempotency-Key": "k #0"})
    await submit(client, 91, **{"Idempotency-Key": "k"})

    assert 200 == (await batch(client, ["33", "35"], "k"))[0]
    assert 4 == await count_tasks(client)


async def test_keys_of_version_0_1_are_honoured(client: Client, store: SqliteStore) -> None:
    """A gateway was upgraded between a request and its repetition."""
    old = [new_task(number, str(number), "anonymous", at=store.now()) for number in (91, 15, 21)]
    keys = ("one", "many #0", "many #2")
    await store.insert_tasks(
        [replace(each, idempotency_key=key) for each, key in zip(old, keys, strict=True)]
    )

    for _ in range(2):
        one = await submit(client, 91, **{"Idempotency-Key": "one"})
        assert old[0].task_id == one["task_id"]
        many = await batch(client, ["15", "x", "21"], "many")
        assert (200, [each.task_id for each in old[1:]]) == many
    assert (422, []) == await batch(client, ["15", "x", "22"], "many")
    assert 3 == await count_tasks(client)


async def test_an_ended_task_can_be_erased(client: Client) -> None:
    """After that it never was; what is known of its number stays, and a running task is cancelled first."""
    done, running = await submit(client, 91), await submit(client, HARD)
    paths = [f"/tasks/{task['task_id']}" for task in (done, running)]

    refused = await client.delete(f"{paths[1]}?erase=true")
    assert (409, "/problems/task-in-progress") == await problem(refused)
    assert (400, "/problems/bad-request") == await problem(
        await client.delete(f"{paths[1]}?erase=1")
    )
    await client.delete(paths[1])
    for path in paths:
        response = await client.delete(f"{path}?erase=true")

        assert (204, "") == (response.status, await response.text())
        assert (404, "/problems/unknown-task") == await problem(await client.get(path))
        again = await client.delete(f"{path}?erase=true")
        assert (404, "/problems/unknown-task") == await problem(again)
    assert 200 == (await client.get(f"/numbers/{HARD}")).status


async def test_all_ended_tasks_can_be_erased(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page at a time; those that are in progress stay."""
    monkeypatch.setattr(handlers, "ERASED_AT_ONCE", 2)
    monkeypatch.setattr(handlers, "MOST_ERASED", 4)
    for number in (91, 93, 95, 97, 99):
        await submit(client, number)
    await submit(client, HARD)
    answers = [await (await client.delete("/tasks")).json() for _ in range(3)]

    assert [(4, True), (1, False), (0, False)] == [
        (each["erased"], each["more"]) for each in answers
    ]
    assert 1 == await count_tasks(client)


@pytest.mark.usefixtures("every_number_queued")
async def test_prefer_wait_returns_the_answer(
    client: Client, store: SqliteStore, broker: MemoryBroker
) -> None:
    """A client that prefers to wait gets 200 with the result, or 202 when time is up."""
    prefer = {"Prefer": "respond-async, wait=20"}
    waiting = asyncio.create_task(client.post("/factor", json={"number": 91}, headers=prefer))
    async with asyncio.timeout(10):
        while await store.get_factorization(91) is None:
            await asyncio.sleep(0.01)
    await finish(store, broker, 91, part(7), part(13))
    response = await waiting

    assert (200, "7,13") == (response.status, (await response.json())["result"])
    assert "wait=20" == response.headers["Preference-Applied"]
    late = await client.post("/factor", json={"number": 77}, headers={"Prefer": "wait=1"})
    assert 202 == late.status


@pytest.mark.usefixtures("every_number_queued")
async def test_long_poll_and_etag(client: Client, store: SqliteStore, broker: MemoryBroker) -> None:
    """An entity tag gives 304 until there is news, and a long poll returns with the news."""
    url = f"/tasks/{(await submit(client, 91))['task_id']}"
    held = {"If-None-Match": (await client.get(url)).headers["ETag"]}

    assert 304 == (await client.get(url, headers=held)).status
    assert 304 == (await client.get(url, params={"wait": "0.1"}, headers=held)).status
    waiting = asyncio.create_task(client.get(url, params={"wait": "20"}, headers=held))
    await finish(store, broker, 91, part(7), part(13))
    response = await waiting
    assert (200, True) == (response.status, (await response.json())["done"])


@pytest.mark.parametrize("wait", ["-1", "61", "x", "1e1", "", "nan", "٣"])
async def test_bad_waits_are_refused(client: Client, wait: str) -> None:
    """?wait= must be 0 to 60 seconds, in plain digits."""
    url = f"/tasks/{(await submit(client, 91))['task_id']}"

    assert 400 == (await client.get(url, params={"wait": wait})).status


async def test_list_goes_through_all_pages(client: Client) -> None:
    """Following the cursor shows every task once, newest first."""
    made = [(await submit(client, number))["task_id"] for number in range(2, 9)]
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await (await client.get("/tasks", params={"limit": "3", **cursor})).json()
        seen += [task["task_id"] for task in page["tasks"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}

    assert sorted(made) == sorted(seen)
    assert made[-1] == seen[0]


@pytest.mark.parametrize(
    "query",
    ["cursor=", "cursor=AAAA", "cursor=%00", "cursor=bmFuIHg=", "limit=0", "limit=101", "limit=x"],
)
async def test_bad_pages_are_refused(client: Client, query: str) -> None:
    """A cursor that the service did not make is refused, and so is a limit out of range."""
    assert (400, "/problems/bad-request") == await problem(await client.get(f"/tasks?{query}"))


@pytest.mark.usefixtures("every_number_queued")
async def test_cancel_is_idempotent(client: Client, store: SqliteStore) -> None:
    """The first call cancels the task and lets its number rest; the second shows the same task."""
    url = f"/tasks/{(await submit(client, 91))['task_id']}"
    first = await client.delete(url)
    second = await client.delete(url)

    assert (200, "cancelled") == (first.status, (await first.json())["status"])
    assert await first.json() == await second.json()
    known = await store.get_factorization(91)
    assert known is not None
    assert not known.wanted


@pytest.mark.usefixtures("every_number_queued")
async def test_cancel_after_the_end_changes_nothing(
    client: Client, store: SqliteStore, broker: MemoryBroker
) -> None:
    """A task that has succeeded stays succeeded."""
    url = f"/tasks/{(await submit(client, 91))['task_id']}"
    await finish(store, broker, 91, part(7), part(13))

    assert "succeeded" == (await (await client.delete(url)).json())["status"]


async def test_batch_answers_for_each_item(client: Client) -> None:
    """A bad number does not affect the others."""
    numbers = [91, "abc", "2^7", 1.5, None, "1" * 1001, 0]
    response = await client.post("/tasks/batch", json={"numbers": numbers})
    body = await response.json()

    assert (200, 3, 4) == (response.status, body["accepted"], body["refused"])
    assert [0, 2, 6] == [item["index"] for item in body["items"] if "task" in item]
    assert 3 == len((await (await client.get("/tasks")).json())["tasks"])


async def test_batch_over_the_limit_is_refused(client: Client) -> None:
    """A batch that is too large is refused as a whole; an empty one is accepted."""
    over = await client.post("/tasks/batch", json={"numbers": [5] * 51})
    empty = await client.post("/tasks/batch", json={"numbers": []})

    assert (413, "/problems/batch-too-large") == await problem(over)
    assert 200 == empty.status


async def test_a_batch_of_dear_expressions_is_refused(
    store: SqliteStore, broker: MemoryBroker
) -> None:
    """Each alone would be refused beside the others; all together cost too much to go on."""
    dear = "-".join(f"{1300 - k}!" for k in range(60))
    app = create_app(Settings(), store=store, broker=broker)
    async with TestClient(TestServer(app)) as client:
        few = await client.post("/tasks/batch", json={"numbers": ["15", *[dear] * 10]})
        many = await client.post("/tasks/batch", json={"numbers": ["21", *[dear] * 200]})
        listed = (await (await client.get("/tasks")).json())["tasks"]
        assert (200, 10) == (few.status, (await few.json())["refused"])
        assert (413, "/problems/batch-too-large") == await problem(many)
        assert "expressions of this batch take too much work" in (await many.json())["detail"]

    assert ["15"] == [task["number"] for task in listed]


@pytest.mark.usefixtures("every_number_queued")
async def test_number_shows_what_is_known(
    client: Client, store: SqliteStore, broker: MemoryBroker
) -> None:
    """Digits and expressions name the same number; the status of an unknown one is U."""
    assert "U" == (await (await client.get("/numbers/91")).json())["status"]
    await submit(client, 91)
    await finish(store, broker, 91, part(7), part(13))

    assert "FF" == (await (await client.get("/numbers/182%2F2")).json())["status"]
    assert (400, "/problems/bad-expression") == await problem(await client.get("/numbers/1%2F0"))
    assert "Zero" == (await (await client.get("/numbers/0")).json())["status"]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("task_id", [UNKNOWN, "x", "%00", "%ff", "1" * 3000])
async def test_unknown_tasks_are_problems(client: Client, method: str, task_id: str) -> None:
    """An id that no task has is 404, whatever it looks like."""
    response = await client.request(method, f"/tasks/{task_id}")

    assert (404, "/problems/unknown-task") == await problem(response)
    assert 404 == (await client.get(f"/get/{task_id}")).status


async def test_unknown_pages_and_methods_are_problems(client: Client) -> None:
    """The router's own errors are problems as well."""
    put = await client.put("/factor")

    assert (404, "/problems/not-found") == await problem(await client.get("/nowhere"))
    slash = await client.get("/tasks/", allow_redirects=False)
    assert (404, "/problems/not-found") == await problem(slash)
    assert "perhaps you mean /tasks." in (await slash.json())["detail"]
    assert (426, "/problems/upgrade-required") == await problem(await client.get("/ws"))
    assert (405, "/problems/method-not-allowed") == await problem(put)
    assert "POST" == put.headers["Allow"]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/tasks?limit=5&page=2", "no query parameter `page` here; known: cursor and limit."),
        ("/tasks?limit=5&limit=6", "`limit` is given more than once"),
        (f"/tasks/{UNKNOWN}?waits=5", "no query parameter `waits` here; known: wait."),
        ("/numbers/15?base=10", "no query parameter `base` here; known: none."),
    ],
)
async def test_a_query_parameter_that_is_not_read_is_a_problem(
    client: Client, path: str, says: str
) -> None:
    """A slip in its name would go unnoticed otherwise. Links to pages may carry anything."""
    response = await client.get(path)

    assert (400, "/problems/bad-request") == await problem(response)
    assert says in (await response.json())["detail"]
    assert 200 == (await client.get("/?utm_source=x")).status


async def test_home_tells_browsers_from_curl(client: Client) -> None:
    """Curl gets one line; a browser gets a page that may run only its own code."""
    curl = await client.get("/", headers={"Accept": "*/*"})
    browser = await client.get("/", headers={"Accept": "text/html,*/*;q=0.8"})

    assert "Hello Factor app!\n" == await curl.text()
    assert "factorline" == curl.headers["Server"]
    assert "text/html" == browser.content_type
    assert "script-src 'self';" in browser.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "path",
    ["/", "/docs", "/openapi.json", "/asyncapi.json", "/healthz", "/readyz", "/tasks", "/metrics"],
)
async def test_head_works(client: Client, path: str) -> None:
    """HEAD answers as GET does, without the body."""
    response = await client.head(path)

    assert (200, b"") == (response.status, await response.read())


async def test_draining_is_not_ready_but_alive(client: Client) -> None:
    """The load balancer gets 404 and sends no new clients; existing ones are served."""
    app = client.app
    assert app is not None
    app[READINESS].draining = True

    assert 404 == (await client.get("/readyz")).status
    assert 200 == (await client.get("/healthz")).status
    assert 202 == (await client.post("/factor", json={"number": 91})).status


async def test_metrics_count_requests_by_route(client: Client) -> None:
    """Routes are labelled by their pattern, so that ids do not make new time series."""
    await client.get(f"/tasks/{new_task_id()}")
    text = await (await client.get("/metrics")).text()

    assert 'route="/tasks/{task_id}",status="404"' in text.replace('method="GET",', "")


async def test_a_store_that_is_down_is_503_soon(client: Client, store: SqliteStore) -> None:
    """Within 3 seconds, every call that needs the store says when to try again."""
    await store.close()
    for method, path in (("POST", "/factor"), ("GET", "/tasks"), ("GET", "/readyz")):
        started = time.monotonic()
        response = await client.request(
            method, path, json={"number": 91} if method == "POST" else None
        )

        assert (503, "/problems/store-unavailable") == await problem(response)
        assert 1 <= int(response.headers["Retry-After"]) <= 3
        assert time.monotonic() - started < 3


async def test_a_store_that_is_slow_all_the_time_is_503_soon(
    client: Client, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No single call to the store is too slow, but a request makes several."""
    count, insert = store.count_live, store.insert_tasks

    async def count_slowly(*args: Any, **how: Any) -> int:
        await asyncio.sleep(0.4)
        return await count(*args, **how)

    async def insert_slowly(tasks: Sequence[Task]) -> list[Task]:
        await asyncio.sleep(0.4)
        return await insert(tasks)

    monkeypatch.setattr(deadline, "ANSWER_SECONDS", 0.6)
    monkeypatch.setattr(store, "count_live", count_slowly)
    monkeypatch.setattr(store, "insert_tasks", insert_slowly)
    with capture_logs() as lines:
        response = await client.post("/factor", json={"number": 10**30 + 57})

    assert (503, "/problems/store-unavailable") == await problem(response)
    assert any("0.6 s" in line.get("why", "") for line in lines)


async def test_a_time_out_of_our_own_code_is_500(
    client: Client, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the deadline's own expiry says that the store does not answer."""

    async def list_tasks(*_: object, **__: object) -> list[Task]:
        raise TimeoutError("a fault")

    monkeypatch.setattr(store, "list_tasks", list_tasks)

    assert (500, "/problems/internal-error") == await problem(await client.get("/tasks"))


async def test_strangers_learn_nothing_of_the_store_that_does_not_answer(
    client: Client, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its driver's message names hosts; that of a failed write has whole documents in it."""

    async def failing(*_: object, **__: object) -> None:
        raise errors.StoreUnavailable("mongo-internal:27017: connection refused")

    for verb in ("ping", "list_tasks"):
        monkeypatch.setattr(store, verb, failing)
    with capture_logs() as lines:
        for path in ("/readyz", "/tasks"):
            response = await client.get(path)

            assert 503 == response.status
            assert "mongo-internal" not in await response.text()
    assert any("mongo-internal" in line.get("why", "") for line in lines)


@pytest.mark.parametrize("prefer", [{}, {"Prefer": "wait=1"}])
async def test_what_is_inserted_is_accepted(
    client: Client, store: SqliteStore, monkeypatch: pytest.MonkeyPatch, prefer: dict[str, str]
) -> None:
    """If the store stops answering afterwards, the client gets its task, and a worker will begin it."""

    async def never(*_: object) -> None:
        await asyncio.sleep(3600)

    async def failing(*_: object) -> None:
        raise errors.StoreUnavailable("a test")

    monkeypatch.setattr(deadline, "ANSWER_SECONDS", 0.6)
    monkeypatch.setattr(store, "mark_joined", never)
    monkeypatch.setattr(store, "get_task", failing)
    response = await client.post("/factor", json={"number": 10**30 + 57}, headers=prefer)
    task = await response.json()

    assert (202, "queued", False) == (response.status, task["status"], task["done"])
    monkeypatch.undo()
    assert 200 == (await client.get(response.headers["Location"])).status


async def test_a_client_may_take_its_time(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The deadline is paused while the body arrives, and while the client waits for the factors."""
    monkeypatch.setattr(deadline, "ANSWER_SECONDS", 0.6)

    async def body() -> AsyncIterator[bytes]:
        yield b'{"number": '
        await asyncio.sleep(1.0)
        yield str(10**30 + 57).encode() + b"}"

    response = await client.post("/factor", data=body(), headers={"Prefer": "wait=1"})
    assert 202 == response.status
    assert 200 == (await client.get(f"{response.headers['Location']}?wait=1")).status
