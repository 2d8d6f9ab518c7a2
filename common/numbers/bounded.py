"""Exact integer arithmetic that knows what a step costs, and refuses what is too large or too dear.

The cost of a step is estimated from the sizes of its operands before anything is computed. It is counted in
products of two 30-bit words, of which CPython computes 0.5 to 1 billion a second.
"""

import bisect
import functools
import itertools
import math
from dataclasses import dataclass
from typing import NamedTuple

from common.numbers.errors import ExpressionError, NumberTooLarge

BITS_PER_DIGIT = math.log2(10)
HEADROOM = 4
"""Intermediate results may have this many times as many digits as the limit allows."""
WORK = 4
"""One expression may cost as much as this many squarings of the largest intermediate result."""
STEP = 50
"""What any step costs besides its products, and any number that is read."""
_WORD_BITS = 30
_MOST_DIGITS = 4300
"""The largest limit that anybody may set."""


@dataclass
class Effort:
    """What the expressions that were read with it have cost together."""

    spent: float = 0.0
    """The unit is the most that one expression may cost: under a millisecond for numbers of 1000 digits."""


class Arithmetic:
    """The operators of one expression, which share one limit and one budget of work.

    Every method takes the position of its operator, for its errors.
    """

    def __init__(self, limit_digits: int) -> None:
        self._limit_digits = limit_digits
        self._limit_bits = math.ceil(HEADROOM * limit_digits * BITS_PER_DIGIT)
        self._budget = WORK * _words(self._limit_bits) ** 2 + 256 * STEP
        self._left = self._budget

    @property
    def share_spent(self) -> float:
        """Return how much of what one expression may cost was spent."""
        return 1 - self._left / self._budget

    def literal(self, digits: str, position: int) -> int:
        """Return the number that a run of digits stands for."""
        self._pay(len(digits) ** 2 // 200, position)
        return int(digits)

    def binary(self, symbol: str, left: int, right: int, position: int) -> int:
        """Return `left symbol right`; errors name the `position`."""
        match symbol:
            case "+":
                self._pay(_size(left) + _size(right), position)
                result = left + right
            case "-":
                self._pay(_size(left) + _size(right), position)
                result = left - right
            case "*":
                self._fits(left.bit_length() + right.bit_length() - 1, position)
                self._pay(_size(left) * _size(right), position)
                result = left * right
            case "/":
                result = self._quotient(left, right, position)
            case "%":
                result = self._remainder(left, right, position)
            case _:
                result = self._power(left, right, position)
        self._fits(result.bit_length(), position)
        return result

    def postfix(self, symbol: str, operand: int, position: int) -> int:
        """Return `operand!` or `operand#` (the product of the primes up to it)."""
        name = "factorial" if symbol == "!" else "primorial"
        if operand < 0:
            raise ExpressionError(
                f"A negative number has no {name}: put the minus before, as in -(3{symbol}).",
                position=position,
            )
        # n! > 2^n from 4 on and n# > 2^n from 29 on: the cheap test comes first because lgamma
        # takes a float, which overflows where n has more than 308 digits.
        if operand > max(self._limit_bits, 32):
            self._refuse(position)
        if symbol == "!":
            bits = math.lgamma(operand + 1) / math.log(2)
            self._fits(bits, position)
            self._pay(_words(bits) ** 2 // 2, position)
            return math.factorial(operand)
        # The product of the primes to n is below e^(1.04 n), and half a step of them is multiplied.
        self._pay(_words(1.04 * operand / math.log(2)) * _words(8 * _TABLE_STEP), position)
        result = _primorial(operand)
        self._fits(result.bit_length(), position)
        return result

    def _quotient(self, left: int, right: int, position: int) -> int:
        if right == 0:
            raise ExpressionError("This divides by zero.", position=position)
        self._pay_division(left, right, position)
        quotient, remainder = divmod(left, right)
        if remainder:
            raise ExpressionError(
                "The division is not exact: only divisions without a remainder are allowed.",
                position=position,
            )
        return quotient

    def _remainder(self, left: int, right: int, position: int) -> int:
        if right == 0:
            raise ExpressionError("The modulus is zero.", position=position)
        self._pay_division(left, right, position)
        return left % right

    def _pay_division(self, left: int, right: int, position: int) -> None:
        quotient = max(1, _size(left) - _size(right) + 1)
        self._pay(2 * _size(right) * quotient + _size(left), position)

    def _power(self, base: int, exponent: int, position: int) -> int:
        if exponent < 0:
            raise ExpressionError(
                "A negative exponent gives a fraction, and only integers can be factored.",
                position=position,
            )
        if abs(base) <= 1:  # their powers stay small, whatever the exponent
            return base if exponent % 2 or (exponent and base >= 0) else 1
        if exponent > self._limit_bits:
            self._refuse(position)
        bits = exponent * math.log2(abs(base))
        self._fits(bits, position)
        self._pay(_words(bits) ** 2 // 2, position)
        return int(base**exponent)

    def _fits(self, bits: float, position: int) -> None:
        if bits > self._limit_bits + 1:
            self._refuse(position)

    def _pay(self, cost: int, position: int) -> None:
        if cost + STEP > self._left:
            self._left = 0
            raise ExpressionError(
                "The expression takes too much work: write it with fewer large steps.",
                position=position,
            )
        self._left -= cost + STEP

    def _refuse(self, position: int) -> None:
        limit = self._limit_digits
        raise NumberTooLarge(
            f"The result of this step has more than {HEADROOM * limit} digits, and the number itself "
            f"may have {limit}: write a smaller expression.",
            limit_digits=limit,
            position=position,
        )


def _words(bits: float) -> int:
    return int(bits) // _WORD_BITS + 1


def _size(number: int) -> int:
    return _words(number.bit_length())


class _Primorials(NamedTuple):
    primes: list[int]
    products: list[int]
    """``products[i]`` is that of the first ``i * _TABLE_STEP`` primes."""


_TABLE_STEP = 64


@functools.cache
def _primorials() -> _Primorials:
    """Return a table for every primorial that fits, made in 5 ms when one is first asked for; 0.4 MB."""
    bound = math.ceil(HEADROOM * _MOST_DIGITS * BITS_PER_DIGIT)
    is_prime = bytearray([0, 0]) + bytearray([1]) * (bound - 1)
    for p in range(2, math.isqrt(bound) + 1):  # the sieve of Eratosthenes
        if is_prime[p]:
            is_prime[p * p :: p] = bytes(len(range(p * p, bound + 1, p)))
    primes = list(itertools.compress(range(bound + 1), is_prime))
    steps = (math.prod(primes[i : i + _TABLE_STEP]) for i in range(0, len(primes), _TABLE_STEP))
    return _Primorials(primes, list(itertools.accumulate(steps, lambda a, b: a * b, initial=1)))


def _primorial(bound: int) -> int:
    """Return the product of the primes up to `bound`."""
    primes, products = _primorials()
    count = bisect.bisect_right(primes, bound)
    return products[count // _TABLE_STEP] * math.prod(primes[count - count % _TABLE_STEP : count])
