"""The errors of reading a number, worded for the person who typed it.

NumberError
├── NotANumber          the text holds something that no number or expression holds
├── NumberTooLarge      the value, or a step on the way to it, is over the limit
└── ExpressionError     the expression cannot be read, or has no integer value
"""

from common.errors import FactorlineError


class NumberError(FactorlineError, ValueError):
    """The text is not a number that we accept; the message says what happened and what to do.

    `position` is the offending character, counted from 1, or None if it is the text as a whole.
    """

    def __init__(self, message: str, *, position: int | None = None) -> None:
        self.position = position
        super().__init__(message if position is None else f"{message} (character {position})")


class NotANumber(NumberError):
    """The text is empty, or holds a character that neither numbers nor expressions contain."""


class NumberTooLarge(NumberError):
    """The number has more than `limit_digits` decimal digits, or a step towards it has too many."""

    def __init__(self, message: str, *, limit_digits: int, position: int | None = None) -> None:
        self.limit_digits = limit_digits
        super().__init__(message, position=position)


class ExpressionError(NumberError):
    """The expression breaks the grammar, is too long or too deep, or has no integer value."""
