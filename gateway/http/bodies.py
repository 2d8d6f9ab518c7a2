"""Reads request bodies: hostile until shown to be strict JSON of bounded size."""

import json
from dataclasses import dataclass
from typing import Any, NoReturn

from aiohttp import web

from common.numbers import NotANumber, ParsedNumber, parse
from gateway.http import deadline
from gateway.views.problems import BadRequest, BodyTooLarge


class IntegerLiteral(str):
    """The digits of a JSON integer, not converted: their count is checked before `int` sees them."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class FloatLiteral:
    """A JSON number with a fraction or an exponent, kept only to be refused with its place."""

    text: str


async def read_object(request: web.Request) -> dict[str, Any]:
    """Return the JSON object of a body, whatever its Content-Type says (curl says form data).

    Raises:
        BodyTooLarge: It is over the application's limit.
        BadRequest: It is not UTF-8, not strict JSON, or not an object.

    """
    limit = request.client_max_size
    if (request.content_length or 0) > limit:
        raise BodyTooLarge(limit=limit)
    try:
        with deadline.unhurried(request):
            body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise BodyTooLarge(limit=limit) from None
    except web.RequestPayloadError as error:
        raise BadRequest(f"The body cannot be read: {error}.") from error
    document = read_json(body)
    if not isinstance(document, dict):
        raise BadRequest("The body must be a JSON object.")
    return document


def read_json(body: bytes) -> Any:
    """Return the JSON value, with integers as `IntegerLiteral` and other numbers as `FloatLiteral`.

    Raises:
        BadRequest: It is not UTF-8 or not strict JSON; equal keys, NaN and deep nesting are refused.

    """
    if not body.strip():
        raise BadRequest('The body is empty: send JSON such as {"number": 1234}.')
    try:
        return _DECODER.decode(body.decode())
    except UnicodeDecodeError as error:
        raise BadRequest(f"The body is not UTF-8 at byte {error.start}.") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise BadRequest(f"The body is not JSON: {error.msg} ({where}).") from error
    except RecursionError as error:
        raise BadRequest("The body is nested too deep.") from error


def parse_number(value: object, max_digits: int) -> ParsedNumber:
    """Return the number that a JSON value stands for.

    Raises:
        NumberError: It is neither an integer nor a text that `common.numbers` reads.

    """
    if isinstance(value, str):
        return parse(value, max_digits=max_digits)
    if isinstance(value, FloatLiteral):
        raise NotANumber(
            f"{value.text[:40]} is written with a fraction or an exponent: give an integer, "
            "or a string with an expression such as 10^5."
        )
    raise NotANumber(f"A number must be an integer or a string, not {_NAMES[type(value)]}.")


_NAMES = {bool: "a boolean", type(None): "null", list: "an array", dict: "an object"}


def _refuse_constant(name: str) -> NoReturn:
    raise BadRequest(f"The body is not JSON: {name} is no JSON number.")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise BadRequest("The body has an object with two equal keys.")
    return found


_DECODER = json.JSONDecoder(
    parse_int=IntegerLiteral,
    parse_float=FloatLiteral,
    parse_constant=_refuse_constant,
    object_pairs_hook=_unique,
)
