"""Hostile input gets an exact answer or a 4xx problem, quickly, and leaves no task behind; never a 500."""

import io
import json
import time
import urllib.parse
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from gateway.http import bodies
from tests.corpora import BAD_NUMBERS, GOOD_NUMBERS

Client = TestClient[web.Request, web.Application]

LONGEST_SECONDS = 1.0
"""Typical is under 50 ms; this is for a machine that does much else."""
LONGEST_TARGET = 8000
"""aiohttp refuses longer request lines before our code sees them."""

BAD_BODIES: list[tuple[bytes, str]] = [
    (b"", "nothing"),
    (b"   ", "only spaces"),
    (b"{", "an open object"),
    (b"null", "null"),
    (b"[]", "an array"),
    (b"5", "a bare number"),
    (b'"5"', "a bare string"),
    (b"{}", "no number"),
    (b'{"Number": 5}', "another name"),
    (b'{"number": 5, "number": 7}', "equal keys"),
    (b'{"number": 5, "x": {"a": 1, "a": 2}}', "equal keys further in"),
    (b'{"number": NaN}', "NaN"),
    (b'{"number": Infinity}', "infinity"),
    (b'{"number": -Infinity}', "minus infinity"),
    (b'{"number": 1.5}', "a float"),
    (b'{"number": 15.0}', "a float with an integer value"),
    (b'{"number": 1e3}', "an exponent"),
    (b'{"number": 1e400}', "an exponent that overflows"),
    (b'{"number": true}', "a boolean"),
    (b'{"number": null}', "null as the number"),
    (b'{"number": []}', "an array as the number"),
    (b'{"number": {}}', "an object as the number"),
    (b'{"number": 007}', "leading zeros"),
    (b'{"number": +5}', "a plus sign"),
    (b'{"number": 0x10}', "hexadecimal"),
    (b'{"number": 5,}', "a trailing comma"),
    (b'{"number": 5} {"number": 7}', "two objects"),
    (b"{'number': 5}", "single quotes"),
    (b'{"number": "\xff"}', "no UTF-8"),
    (b'\xef\xbb\xbf{"number": 5}', "a byte-order mark"),
    ('{"number": 5}'.encode("utf-16"), "UTF-16"),
    (b'{"number": "5\x00"}', "a NUL in a string"),
    (b"[" * 100_000, "arrays without end"),
    (b'{"a":' * 50_000, "objects without end"),
    (b'{"number": ' + b"[" * 4000 + b"]" * 4000 + b"}", "deep nesting that is closed"),
    (b'{"number": ' + b"1" * 1001 + b"}", "a digit too many"),
    (b'{"number": ' + b"1" * 900_000 + b"}", "nearly a megabyte of digits"),
    (b'{"number": -' + b"9" * 5000 + b"}", "more digits than int() takes"),
    (b"number=5", "a form"),
]


async def check(client: Client, body: bytes) -> None:
    """Post a body and check that it is refused."""
    started = time.monotonic()
    response = await client.post("/factor", data=body)
    text = await response.text()

    assert 400 <= response.status < 500, text
    assert response.content_type == "application/problem+json"
    assert {"type", "title", "status", "detail"} <= json.loads(text).keys()
    assert time.monotonic() - started < LONGEST_SECONDS
    assert [] == (await (await client.get("/tasks")).json())["tasks"]


@pytest.mark.parametrize("body", [pytest.param(body, id=why) for body, why in BAD_BODIES])
async def test_bad_bodies_are_problems(client: Client, body: bytes) -> None:
    """What is not strict JSON with an integer in it is refused."""
    await check(client, body)


@pytest.mark.parametrize("many", ["1", "1.5", "{}", "[]"])
@pytest.mark.parametrize("member", ["number", "numbers", "more"])
async def test_reading_stops_at_the_first_value_too_many(
    client: Client, monkeypatch: pytest.MonkeyPatch, member: str, many: str
) -> None:
    """A megabyte of values where one belongs costs no more than a sensible body."""
    read = 0

    def counted(reader: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def count(given: Any) -> Any:
            nonlocal read
            read += 1
            return reader(given)

        return count

    for name in ("IntegerLiteral", "FloatLiteral", "_unique"):
        monkeypatch.setattr(bodies, name, counted(getattr(bodies, name)))
    body = f'{{"number": 1, "{member}": [{",".join([many] * 200_000)}]}}'.encode()
    single = await client.post("/factor", data=body)
    batch = await client.post("/tasks/batch", data=body)

    assert (400, 413) == (single.status, batch.status)
    assert "POST /tasks/batch takes many" in (await single.json())["detail"]
    assert "A batch may have 50 numbers" in (await batch.json())["detail"]
    assert read <= 2 * (50 + 2 * bodies.SPARE_VALUES)


async def test_too_large_a_body_is_a_problem(client: Client) -> None:
    """The limit holds with and without a Content-Length."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 100_000

    announced = await client.post("/factor", data=io.BytesIO(b" " * 2_000_000))
    chunked = await client.post("/factor", data=chunks())

    for response in (announced, chunked):
        assert 413 == response.status
        assert "/problems/body-too-large" == (await response.json())["type"]


@pytest.mark.parametrize("source", [pytest.param(text, id=why) for text, why in BAD_NUMBERS])
async def test_bad_numbers_are_problems(client: Client, source: str) -> None:
    """What the parser refuses is refused in a body, in a batch and in a path."""
    await check(client, json.dumps({"number": source}).encode())
    batch = await client.post("/tasks/batch", data=json.dumps({"numbers": [source]}))
    assert (200, 1) == (batch.status, (await batch.json())["refused"])
    path = urllib.parse.quote(source, safe="", errors="surrogatepass")
    if path.strip(".") and len(path) < LONGEST_TARGET:
        response = await client.get(f"/numbers/{path}")
        assert 400 <= response.status < 500
    assert [] == (await (await client.get("/tasks")).json())["tasks"]


@pytest.mark.parametrize(
    ("source", "value"), [pytest.param(*pair, id=pair[0][:40]) for pair in GOOD_NUMBERS]
)
async def test_good_numbers_are_exact(client: Client, source: str, value: int) -> None:
    """A number that the parser accepts arrives with its exact value."""
    response = await client.post("/factor", data=json.dumps({"number": source}))
    shown = await response.json()

    assert (202, str(value)) == (response.status, shown["number"])
    assert source.strip(" ") == shown["expression"]


async def test_a_limit_is_named(client: Client) -> None:
    """The problem says how many digits are allowed, and where an expression is wrong."""
    large = await (await client.post("/factor", data=b'{"number": ' + b"1" * 1001 + b"}")).json()
    wrong = await (await client.post("/factor", data=b'{"number": "2+*3"}')).json()

    assert 1000 == large["limit_digits"]
    assert isinstance(wrong["position"], int)
