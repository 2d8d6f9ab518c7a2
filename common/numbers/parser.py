"""Reads the number that a client wants factored: an integer, its digits, or an expression."""

import re
from dataclasses import dataclass

from common.numbers import expressions
from common.numbers.bounded import Effort
from common.numbers.errors import ExpressionError, NotANumber, NumberError, NumberTooLarge

DEFAULT_DIGITS = 1000
MOST_DIGITS = 4300
"""No limit may be larger: int() and str() refuse more digits, for good reason (CVE-2020-10735)."""
_SPARE_CHARACTERS = 1000
"""A text may have twice as many characters as the limit has digits, and this many more."""
_DECIMAL = re.compile(r"([+-]?)([0-9]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class ParsedNumber:
    """A number, and the way it was written without the spaces around it."""

    value: int
    expression: str


def parse(
    source: str | int, *, max_digits: int = DEFAULT_DIGITS, effort: Effort | None = None
) -> ParsedNumber:
    """Return the number that `source` stands for. The time that takes is bounded by `max_digits`.

    Whoever reads many numbers passes one `effort`, to which each expression adds what it cost.

    >>> parse("2^11-1").value
    2047


    Raises:
        NumberError: It is not a number (`NotANumber`), is an expression that cannot be read or has
            no integer value (`ExpressionError`), or has more than `max_digits` digits
            (`NumberTooLarge`).
        ValueError: `max_digits` is not between 1 and `MOST_DIGITS`.
    """
    if not 1 <= max_digits <= MOST_DIGITS:
        raise ValueError(f"max_digits must be 1 to {MOST_DIGITS}, not {max_digits}")
    if isinstance(source, int) and not isinstance(source, bool):
        return ParsedNumber(_within(source, max_digits), str(source))
    if not isinstance(source, str):
        raise NotANumber("Give an integer, or a string with an integer or an expression.")
    return _from_text(source, max_digits, effort or Effort())


def _from_text(source: str, max_digits: int, effort: Effort) -> ParsedNumber:
    if len(source) > 2 * max_digits + _SPARE_CHARACTERS:
        raise _too_long(source, max_digits)
    text = source.strip(" ")
    if not text:
        raise NotANumber("The text is empty: give an integer or an expression such as 2^128+1.")
    decimal = _DECIMAL.fullmatch(text)
    if decimal is None:
        value = expressions.evaluate(source, max_digits=max_digits, effort=effort)
        return ParsedNumber(_within(value, max_digits), text)
    digits = decimal[2].lstrip("0") or "0"
    if len(digits) > max_digits:
        raise _too_large(max_digits, f"has {len(digits)} digits")
    return ParsedNumber(int(decimal[1] + digits), text)


def _within(value: int, max_digits: int) -> int:
    """Return `value` if it has no more than `max_digits` digits."""
    if abs(value) >= 10**max_digits:
        raise _too_large(max_digits, f"has more than {max_digits} digits")
    return value


def _too_large(max_digits: int, what: str) -> NumberTooLarge:
    return NumberTooLarge(
        f"The number {what}; the limit is {max_digits} digits.", limit_digits=max_digits
    )


def _too_long(source: str, max_digits: int) -> NumberError:
    """Return the error for a text that is too long to be read."""
    bare = source.strip(" ").removeprefix("-").removeprefix("+")
    if bare.isascii() and bare.isdigit():
        return _too_large(max_digits, f"has {len(bare)} digits")
    most = 2 * max_digits + _SPARE_CHARACTERS
    return ExpressionError(
        f"The text has {len(source)} characters; the limit is {most}: write a shorter one."
    )
