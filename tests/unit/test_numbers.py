"""The number parser: exact where it answers, quick and helpful where it refuses."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import numbers
from common.numbers import bounded
from tests.corpora import BAD_NUMBERS, GOOD_NUMBERS

# A random expression as (text, value, how tightly its outermost operator binds). The value is
# computed beside the text, by Python's own operators on trees, so that it trusts no parser.
Node = tuple[str, int, int]
SUM, PRODUCT, SIGN, POWER, ATOM = range(5)


def wrap(node: Node, at_least: int) -> str:
    """Return the node's text, in parentheses where it binds less than `at_least`."""
    text, _, binds = node
    return text if binds >= at_least else f"({text})"


def combine(pair: tuple[Node, str, Node]) -> Node:  # noqa: PLR0911 - one per operator
    """Join two nodes by a binary operator, or leave the left one where that has no value."""
    left, symbol, right = pair
    a, b = left[1], right[1]
    match symbol:
        case "+":
            return f"{wrap(left, SUM)} + {wrap(right, PRODUCT)}", a + b, SUM
        case "-":
            return f"{wrap(left, SUM)}-{wrap(right, PRODUCT)}", a - b, SUM
        case "*":
            return f"{wrap(left, PRODUCT)}*{wrap(right, SIGN)}", a * b, PRODUCT
        case "%" if b:
            return f"{wrap(left, PRODUCT)}%{wrap(right, SIGN)}", a - b * (a // b), PRODUCT
        case "/" if b and a % b == 0:
            return f"{wrap(left, PRODUCT)} /{wrap(right, SIGN)}", a // b, PRODUCT
        case "^" | "**" if 0 <= b <= 9 and abs(a) < 10**6:
            return f"{wrap(left, ATOM)}{symbol}{wrap(right, SIGN)}", math.prod([a] * b), POWER
        case _:
            return left


def prefix(pair: tuple[str, Node]) -> Node:
    """Put a sign before a node."""
    symbol, node = pair
    return symbol + wrap(node, SIGN), -node[1] if symbol == "-" else node[1], SIGN


def postfix(pair: tuple[Node, str]) -> Node:
    """Put ! or # after a node that is small enough."""
    node, symbol = pair
    if not 0 <= node[1] <= 30 or node[0].endswith("!"):
        return node
    value = math.factorial(node[1])
    if symbol == "#":
        value = math.prod(p for p in range(2, node[1] + 1) if all(p % d for d in range(2, p)))
    return wrap(node, ATOM) + symbol, value, ATOM


def grow(nodes: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    """Return nodes with one more level on top."""
    operators = st.sampled_from(["+", "-", "*", "/", "%", "^", "**"])
    return (
        st.tuples(nodes, operators, nodes).map(combine)
        | st.tuples(st.sampled_from("+-"), nodes).map(prefix)
        | st.tuples(nodes, st.sampled_from("!#")).map(postfix)
    )


LEAVES = st.integers(0, 10**6).map(lambda n: (str(n), n, ATOM)) | st.integers(0, 9).map(
    lambda n: (f"0{n}", n, ATOM)
)
TREES = st.recursive(LEAVES, grow, max_leaves=12)


@given(TREES)
def test_an_expression_has_the_value_of_its_tree(node: Node) -> None:
    """The parser agrees with a tree that was evaluated without it."""
    parsed = numbers.parse(node[0], max_digits=4000)

    assert node[1] == parsed.value


@pytest.mark.parametrize(("text", "value"), GOOD_NUMBERS, ids=lambda x: repr(x)[:30])
def test_a_good_text_is_read_exactly(text: str, value: int) -> None:
    """Every good text has its value and keeps its spelling."""
    parsed = numbers.parse(text)

    assert numbers.ParsedNumber(value, text.strip()) == parsed


@pytest.mark.parametrize(("text", "why"), BAD_NUMBERS, ids=lambda x: repr(x)[:30])
def test_a_bad_text_is_refused(text: str, why: str) -> None:
    """Every bad text raises an error with a printable message."""
    with pytest.raises(numbers.NumberError) as caught:
        numbers.parse(text)

    assert str(caught.value), why
    assert str(caught.value).isprintable()
    assert str(caught.value).isascii()


@given(st.text(alphabet="0123456789+-*/^%!#() ", max_size=60) | st.text(max_size=40))
def test_any_text_is_a_number_or_a_number_error(text: str) -> None:
    """Nothing but a `NumberError` comes out of hostile text, and no value over the limit."""
    try:
        value = numbers.parse(text, max_digits=50).value
    except numbers.NumberError:
        value = 0

    assert abs(value) < 10**50


HOSTILE = {
    "powers": "-".join(f"{3 + k}^{3500 // len(str(3 + k))}" for k in range(60)),
    "products": "+".join(["9^2000*9^2000*0"] * 20),
    "factorials": "-".join(f"{1300 - k}!" for k in range(60)),
    "quotients": "+".join(f"9^4000/3^{4000 + k}" for k in range(30)),
    "remainders": "+".join(f"9^4000%7^{2200 + k}" for k in range(30)),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_every_operator_is_paid_for(text: str) -> None:
    """Whatever is repeated until it costs much, the expression is refused before it does."""
    effort = numbers.Effort()
    with pytest.raises(numbers.ExpressionError, match="takes too much work"):
        numbers.parse(text, effort=effort)

    assert 1.0 == effort.spent


def test_an_expression_costs_in_proportion_to_its_numbers() -> None:
    """Ordinary ones cost next to nothing, and digits nothing at all."""
    effort = numbers.Effort()
    numbers.parse("9" * 1000, effort=effort)
    assert 0.0 == effort.spent
    for _ in range(1000):
        numbers.parse("2^331-1", effort=effort)
    assert 0.1 < effort.spent < 1.0
    before = effort.spent
    numbers.parse("500!/(250!*250!)", effort=effort)
    numbers.parse("-".join(f"{1800 - k}#" for k in range(85)), effort=effort)

    assert effort.spent < before + 0.3


@pytest.mark.parametrize("bound", [0, 1, 2, 3, 311, 312, 313, 1000, 9199, 30_000])
def test_a_primorial_is_the_product_of_its_primes(bound: int) -> None:
    """The table has one product for each 64 primes: 311 is the 64th of them."""
    primes = [p for p in range(2, bound + 1) if all(p % d for d in range(2, math.isqrt(p) + 1))]

    assert math.prod(primes) == bounded.Arithmetic(4300).postfix("#", bound, 1)


@given(st.integers(-(10**60), 10**60))
def test_an_integer_and_its_digits_are_the_same_number(n: int) -> None:
    """JSON integers and decimal strings meet."""
    assert numbers.parse(n) == numbers.parse(str(n)) == numbers.ParsedNumber(n, str(n))


@pytest.mark.parametrize("source", [True, False, 15.0, None, [1], b"15"])
def test_what_is_neither_text_nor_integer_is_refused(source: object) -> None:
    """A boolean is no number, and a float not even when it is whole."""
    with pytest.raises(numbers.NotANumber):
        numbers.parse(source)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "source",
    [10**1000, -(10**1000), 10**9000, "1" * 1001, "10^1000"],
    ids=["just", "negative", "more than str() takes", "text", "expression"],
)
def test_a_number_over_the_limit_names_the_limit(source: str | int) -> None:
    """The error carries the limit, for the problem document, and says it, for the reader."""
    with pytest.raises(numbers.NumberTooLarge, match="1000 digits") as caught:
        numbers.parse(source)

    assert caught.value.limit_digits == 1000


@pytest.mark.parametrize("limit", [0, -1, 4301])
def test_a_limit_that_int_would_refuse_is_a_programming_error(limit: int) -> None:
    """A limit over 4 300 digits would need sys.int_max_str_digits raised: never."""
    with pytest.raises(ValueError, match="max_digits") as caught:
        numbers.parse("1", max_digits=limit)

    assert not isinstance(caught.value, numbers.NumberError)


def test_the_largest_limit_works_to_the_last_digit() -> None:
    """4 300 digits are read and written without touching sys.int_max_str_digits."""
    text = "9" * numbers.MOST_DIGITS

    assert numbers.parse(text, max_digits=numbers.MOST_DIGITS).value == 10**4300 - 1
    with pytest.raises(numbers.NumberTooLarge):
        numbers.parse("1" + text, max_digits=numbers.MOST_DIGITS)


@pytest.mark.parametrize(
    ("text", "position", "says"),
    [
        ("2 + ", 5, "number was expected"),
        ("(2+3", 1, "never closed"),
        ("2+3)", 4, "never opened"),
        ("(2 3)", 4, "operator was expected"),
        ("10+7/2", 5, "not exact"),
        ("  1.5", 4, "without a decimal point"),
        ("1_000", 2, "without separators"),
        ("3!!", 3, r"write \(3!\)!"),
        ("1+9^9^9^9", 6, "number itself may have 1000"),
    ],
)
def test_an_error_says_where_and_what(text: str, position: int, says: str) -> None:
    """The position counts characters from 1 in the text as it was sent."""
    with pytest.raises(numbers.NumberError, match=says) as caught:
        numbers.parse(text)

    assert caught.value.position == position
    assert f"(character {position})" in str(caught.value)
