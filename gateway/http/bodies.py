"""Reads request bodies, which are hostile until they prove to be strict JSON of bounded size."""

import asyncio
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from aiohttp import HttpVersion11, web

from common.numbers import Effort, NotANumber, ParsedNumber, parse
from gateway.http import connections
from gateway.http.deadline import DEADLINE
from gateway.views.problems import BadRequest, BatchTooLarge, BodyTooLarge, NotHttp, TooSlow

SPARE_VALUES = 100
"""Numbers, objects and arrays that a body may have besides what it is about."""


class IntegerLiteral(str):
    """The digits of a JSON integer, not yet converted: `int` is only given a bounded number of them."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class FloatLiteral:
    """A JSON number with a fraction or an exponent, kept so that the refusal can quote it."""

    text: str


async def read_number(request: web.Request, *, max_digits: int) -> ParsedNumber:
    """Return the number that a body such as ``{"number": "2^128+1"}`` asks for.

    Raises:
        BodyTooLarge: The body is over the application's limit.
        BadRequest: The body is not strict JSON, or not such an object.
        NumberError: The value is not an integer, nor a text that `common.numbers` reads.

    """
    try:
        document = await _read_object(request, most_values=SPARE_VALUES)
    except _TooManyValues:
        raise BadRequest(
            'The body has too many values. It asks for one number: {"number": 1234}. '
            "POST /tasks/batch takes many."
        ) from None
    if "number" not in document:
        raise BadRequest('The JSON object has no member "number".')
    return parse_number(document["number"], max_digits)


async def read_batch(request: web.Request, *, max_numbers: int) -> Sequence[object]:
    """Return the values that a body such as ``{"numbers": [15, "2^128+1"]}`` asks for, not yet parsed.

    Raises:
        BodyTooLarge: The body is over the application's limit.
        BatchTooLarge: There are too many values.
        BadRequest: The body is not strict JSON, or not such an object.

    """
    try:
        document = await _read_object(request, most_values=max_numbers + SPARE_VALUES)
    except _TooManyValues:
        raise BatchTooLarge(f"A batch may have {max_numbers} numbers, and this has more") from None
    values = document.get("numbers")
    if not isinstance(values, list):
        raise BadRequest('The JSON object has no member "numbers" that is an array.')
    if len(values) > max_numbers:
        raise BatchTooLarge(f"A batch may have {max_numbers} numbers, and this has {len(values)}")
    return values


async def _read_object(request: web.Request, *, most_values: int) -> dict[str, Any]:
    """Return the JSON object of a body, whatever its Content-Type says: curl's says form data."""
    document = read_json(await _read_bytes(request), most_values=most_values)
    if not isinstance(document, dict):
        raise BadRequest("The body must be a JSON object.")
    return document


async def _read_bytes(request: web.Request) -> bytes:
    limit = request.client_max_size
    if (request.content_length or 0) > limit:
        raise BodyTooLarge(limit=limit)
    await _ask_for_body(request)
    try:
        with request[DEADLINE].paused(), connections.awaiting_body(request):
            async with asyncio.timeout(connections.BODY_SECONDS):
                return await request.read()
    except TimeoutError:
        raise TooSlow(what="The body", seconds=connections.BODY_SECONDS) from None
    except RuntimeError:  # aiohttp's word for a client that was gone before its body was asked for
        if request.transport is not None:
            raise
        raise ConnectionResetError("the client has gone") from None
    except web.HTTPRequestEntityTooLarge:
        raise BodyTooLarge(limit=limit) from None
    except web.RequestPayloadError:
        raise BadRequest(
            "The body is not what the header announces: look at Content-Length, or at the chunks."
        ) from None


async def expect(request: web.Request) -> None:
    """Note what ``Expect`` asks for; `_read_bytes` answers it once a handler wants the body.

    Raises:
        NotHttp: It asks for something else than 100-continue.

    """
    if request.headers["Expect"].lower() != "100-continue":
        raise NotHttp("The only `Expect` that is understood is `100-continue`")


async def _ask_for_body(request: web.Request) -> None:
    """Send ``100 Continue`` to a client that waits for it, if it has not begun to send anyway."""
    if "Expect" in request.headers and request.version == HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun


class _TooManyValues(Exception):
    """The JSON text has more values than its reader has use for."""


def read_json(body: bytes, *, most_values: int) -> Any:
    """Return the JSON value, with integers as `IntegerLiteral` and other numbers as `FloatLiteral`.

    Reading stops at the first number, object or array too many, so that a megabyte of them costs no more
    than a sensible body; other values cost next to nothing.

    Raises:
        BadRequest: It is not UTF-8 or not strict JSON. Duplicate members, NaN and deep nesting are refused.
        _TooManyValues: It has more than `most_values` numbers, objects or arrays.

    """
    if not body.strip():
        raise BadRequest('The body is empty: send JSON such as {"number": 1234}.')
    if (
        body.count(b"[") > most_values
    ):  # the decoder tells of no array; no number contains a bracket
        raise _TooManyValues
    try:
        return _decoder(most_values).decode(body.decode())
    except UnicodeDecodeError as error:
        raise BadRequest(f"The body is not UTF-8 (at byte {error.start}).") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise BadRequest(f"The body is not valid JSON: {error.msg} ({where}).") from error
    except RecursionError as error:
        raise BadRequest("The body is nested too deeply.") from error


def parse_number(value: object, max_digits: int, *, effort: Effort | None = None) -> ParsedNumber:
    """Return the number that a JSON value stands for; `effort` gets what that cost.

    Raises:
        NumberError: It is not an integer, nor a text that `common.numbers` reads.

    """
    if isinstance(value, str):
        return parse(value, max_digits=max_digits, effort=effort)
    if isinstance(value, FloatLiteral):
        raise NotANumber(
            f"{value.text[:40]} is written with a fraction or an exponent: send an integer, "
            "or a string with an expression such as 10^5."
        )
    raise NotANumber(f"A number must be an integer or a string, not {_NAMES[type(value)]}.")


_NAMES = {bool: "a boolean", type(None): "null", list: "an array", dict: "an object"}


def _refuse_constant(name: str) -> NoReturn:
    raise BadRequest(f"The body is not valid JSON: {name} is not a JSON number.")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise BadRequest("The body has an object with two members of the same name.")
    return found


Given = TypeVar("Given")
Read = TypeVar("Read")


def _decoder(most_values: int) -> json.JSONDecoder:
    """Return a decoder that gives up after so many numbers and objects: it calls Python for each."""
    left = itertools.repeat(None, most_values)

    def counted(read: Callable[[Given], Read]) -> Callable[[Given], Read]:
        def count(given: Given) -> Read:
            for _ in left:
                return read(given)
            raise _TooManyValues

        return count

    return json.JSONDecoder(
        parse_int=counted(IntegerLiteral),
        parse_float=counted(FloatLiteral),
        parse_constant=_refuse_constant,
        object_pairs_hook=counted(_unique),
    )
