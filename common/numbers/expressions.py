"""Evaluates an arithmetic expression, with a limit on the recursion and on the size of every result."""

import re
from typing import Final, NamedTuple, Never

from common.numbers.bounded import Arithmetic, Effort
from common.numbers.errors import ExpressionError, NotANumber, NumberTooLarge

MAX_TOKENS: Final = 256
MAX_DEPTH: Final = 48
"""How deep parentheses, signs and powers may be nested; the parser recurses that deep."""

_TOKEN = re.compile(r"([0-9]+)|\*\*|[-+*/^%!#()]", re.ASCII)
_ASSOCIATIVITY = {"+": (1, 2), "-": (1, 2), "*": (3, 4), "/": (3, 4), "%": (3, 4), "^": (6, 6)}
"""Binary operator → its binding power on the left, and the power that its right operand needs."""
_SIGN_BINDS = 5  # tighter than *, looser than ^, so that -2^2 is -4


class Token(NamedTuple):
    """A number (its digits are the `symbol`), an operator, a parenthesis, or "" at the end."""

    symbol: str
    position: int


def evaluate(text: str, *, max_digits: int, effort: Effort) -> int:
    """Return the value of `text`; intermediate results may have a few times `max_digits` digits.

    Args:
        text: The expression.
        max_digits: The limit for the number that is asked for.
        effort: Gets what this costs, also if it is refused.

    Raises:
        NumberError: The text is not an expression, has no integer value, or takes too much work.

    """
    arithmetic = Arithmetic(max_digits)
    try:
        return _Parser(_tokens(text), max_digits, arithmetic).value()
    finally:
        effort.spent += arithmetic.share_spent


def _tokens(text: str) -> list[Token]:
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        if text[at] == " ":
            at += 1
            continue
        match = _TOKEN.match(text, at)
        if match is None:
            raise NotANumber(_unexpected(text[at]), position=at + 1)
        tokens.append(Token("^" if match[0] == "**" else match[0], at + 1))
        if len(tokens) > MAX_TOKENS:
            raise ExpressionError(
                f"The expression has more than {MAX_TOKENS} numbers and operators.", position=at + 1
            )
        at = match.end()
    return [*tokens, Token("", len(text) + 1)]


def _unexpected(char: str) -> str:
    """Return what is wrong with a character, in ASCII: it may not be printable."""
    shown = f"'{char}'" if char.isascii() and char.isprintable() else f"U+{ord(char):04X}"
    match char:
        case "." | "e" | "E":
            hint = "give an integer, without a decimal point or an exponent (10^5, not 1e5)"
        case "," | "_" | "'":
            hint = "write the digits without separators"
        case "x" | "X":
            hint = "write numbers in decimal, and products with *"
        case _:
            hint = "use the digits 0-9, + - * / ^ ** % ! # and parentheses"
    return f"{shown} is not part of an integer or an expression: {hint}."


class _Parser:
    """A precedence-climbing parser (Pratt 1973) that computes as it reads. One is made for each text."""

    def __init__(self, tokens: list[Token], max_digits: int, arithmetic: Arithmetic) -> None:
        self._tokens = tokens
        self._next = 0
        self._depth = 0
        self._max_digits = max_digits
        self._arithmetic = arithmetic

    def value(self) -> int:
        result = self._expression(0)
        rest = self._peek()
        if rest.symbol == ")":
            self._fail(rest, "this parenthesis was never opened")
        if rest.symbol:
            self._fail(rest, "an operator was expected here")
        return result

    def _peek(self) -> Token:
        return self._tokens[self._next]

    def _take(self) -> Token:
        self._next += 1
        return self._tokens[self._next - 1]

    def _expression(self, reach: int) -> int:
        """Read operands while the operators between them bind at least as tightly as `reach`."""
        self._descend()
        left = self._postfixed(self._operand())
        while (binding := _ASSOCIATIVITY.get(self._peek().symbol)) and binding[0] >= reach:
            operator = self._take()
            right = self._expression(binding[1])
            left = self._arithmetic.binary(operator.symbol, left, right, operator.position)
        self._depth -= 1
        return left

    def _descend(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._fail(self._peek(), f"the expression is nested more than {MAX_DEPTH} deep")

    def _operand(self) -> int:
        token = self._take()
        if token.symbol.isdigit():
            return self._literal(token)
        if token.symbol in {"+", "-"}:
            value = self._expression(_SIGN_BINDS)
            return -value if token.symbol == "-" else value
        if token.symbol != "(":
            self._fail(token, "a number was expected here")
        value = self._expression(0)
        self._close(token)
        return value

    def _close(self, opening: Token) -> None:
        closing = self._take()
        if not closing.symbol:
            self._fail(opening, "this parenthesis is never closed")
        if closing.symbol != ")":
            self._fail(closing, "an operator was expected here")

    def _literal(self, token: Token) -> int:
        # Shorter than sys.int_max_str_digits for every limit allowed, so int() does not refuse.
        digits = token.symbol.lstrip("0") or "0"
        if len(digits) > self._max_digits:
            raise NumberTooLarge(
                f"This number has {len(digits)} digits; the limit is {self._max_digits}.",
                limit_digits=self._max_digits,
                position=token.position,
            )
        return self._arithmetic.literal(digits, token.position)

    def _postfixed(self, value: int) -> int:
        last = ""
        while self._peek().symbol in {"!", "#"}:
            operator = self._take()
            if operator.symbol == last == "!":
                self._fail(operator, "'!!' is ambiguous: write (3!)! for the factorial of 3!")
            value = self._arithmetic.postfix(operator.symbol, value, operator.position)
            last = operator.symbol
        return value

    def _fail(self, token: Token, what: str) -> Never:
        found = f"found '{token.symbol[:20]}'" if token.symbol else "the expression ends here"
        raise ExpressionError(f"{what[0].upper()}{what[1:]}; {found}.", position=token.position)
