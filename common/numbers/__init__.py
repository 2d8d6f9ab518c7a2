"""Reads the number that a client wants factored: a JSON integer, digits, or an expression."""

from common.numbers.bounded import Effort
from common.numbers.errors import ExpressionError, NotANumber, NumberError, NumberTooLarge
from common.numbers.parser import DEFAULT_DIGITS, MOST_DIGITS, ParsedNumber, parse

__all__ = [
    "DEFAULT_DIGITS",
    "MOST_DIGITS",
    "Effort",
    "ExpressionError",
    "NotANumber",
    "NumberError",
    "NumberTooLarge",
    "ParsedNumber",
    "parse",
]
