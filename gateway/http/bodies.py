"""Reads request bodies, which are hostile until they prove to be strict JSON of bounded size."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from aiohttp import web

from common.numbers import NotANumber, ParsedNumber, parse
from gateway.http.deadline import DEADLINE
from gateway.views.problems import BadRequest, BatchTooLarge, BodyTooLarge


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
    document = await _read_object(request)
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
    document = await _read_object(request)
    values = document.get("numbers")
    if not isinstance(values, list):
        raise BadRequest('The JSON object has no member "numbers" that is an array.')
    if len(values) > max_numbers:
        raise BatchTooLarge(count=len(values), limit=max_numbers)
    return values


async def _read_object(request: web.Request) -> dict[str, Any]:
    """Return the JSON object of a body, whatever its Content-Type says: curl's says form data."""
    document = read_json(await _read_bytes(request))
    if not isinstance(document, dict):
        raise BadRequest("The body must be a JSON object.")
    return document


async def _read_bytes(request: web.Request) -> bytes:
    limit = request.client_max_size
    if (request.content_length or 0) > limit:
        raise BodyTooLarge(limit=limit)
    try:
        with request[DEADLINE].paused():
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise BodyTooLarge(limit=limit) from None
    except web.RequestPayloadError as error:
        raise BadRequest(f"The body cannot be read: {error}.") from error


def read_json(body: bytes) -> Any:
    """Return the JSON value, with integers as `IntegerLiteral` and other numbers as `FloatLiteral`.

    Raises:
        BadRequest: It is not UTF-8 or not strict JSON. Duplicate members, NaN and deep nesting are refused.

    """
    if not body.strip():
        raise BadRequest('The body is empty: send JSON such as {"number": 1234}.')
    try:
        return _DECODER.decode(body.decode())
    except UnicodeDecodeError as error:
        raise BadRequest(f"The body is not UTF-8 (at byte {error.start}).") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise BadRequest(f"The body is not valid JSON: {error.msg} ({where}).") from error
    except RecursionError as error:
        raise BadRequest("The body is nested too deeply.") from error


def parse_number(value: object, max_digits: int) -> ParsedNumber:
    """Return the number that a JSON value stands for.

    Raises:
        NumberError: It is not an integer, nor a text that `common.numbers` reads.

    """
    if isinstance(value, str):
        return parse(value, max_digits=max_digits)
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


_DECODER = json.JSONDecoder(
    parse_int=IntegerLiteral,
    parse_float=FloatLiteral,
    parse_constant=_refuse_constant,
    object_pairs_hook=_unique,
)
