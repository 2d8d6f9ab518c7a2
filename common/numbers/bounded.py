"""Exact integer arithmetic that refuses a result that would be too large before computing it."""

import functools
import itertools
import math

from common.numbers.errors import ExpressionError, NumberTooLarge

BITS_PER_DIGIT = math.log2(10)
HEADROOM = 4
"""Intermediate results may have this many times as many digits as the limit allows."""
WORK = 32
"""All results of one expression together may have this many times the bits of the largest one allowed."""


class Arithmetic:
    """The operators of one expression, which share one limit and one budget of work.

    Every method takes the position of its operator, for its errors. Sizes are estimated before
    anything is computed, so that a hostile expression costs microseconds.
    """

    def __init__(self, limit_digits: int) -> None:
        self._limit_digits = limit_digits
        self._limit_bits = math.ceil(HEADROOM * limit_digits * BITS_PER_DIGIT)
        self._budget = WORK * self._limit_bits

    def binary(self, symbol: str, left: int, right: int, position: int) -> int:
        """Return `left symbol right`; errors name the `position`."""
        match symbol:
            case "+":
                result = left + right
            case "-":
                result = left - right
            case "*":
                self._afford(left.bit_length() + right.bit_length() - 1, position)
                result = left * right
            case "/":
                result = self._quotient(left, right, position)
            case "%":
                result = self._remainder(left, right, position)
            case _:
                result = self._power(left, right, position)
        return self._pay(result, position)

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
            self._afford(math.lgamma(operand + 1) / math.log(2), position)
            return self._pay(math.factorial(operand), position)
        return self._pay(_primorial(operand), position)

    def _quotient(self, left: int, right: int, position: int) -> int:
        if right == 0:
            raise ExpressionError("This divides by zero.", position=position)
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
        return left % right

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
        self._afford(exponent * math.log2(abs(base)), position)
        return int(base**exponent)

    def _afford(self, bits: float, position: int) -> None:
        if bits > self._limit_bits + 1:
            self._refuse(position)

    def _pay(self, result: int, position: int) -> int:
        self._afford(result.bit_length(), position)
        self._budget -= result.bit_length()
        if self._budget < 0:
            raise ExpressionError(
                "The expression takes too much work: write it with fewer large steps.",
                position=position,
            )
        return result

    def _refuse(self, position: int) -> None:
        limit = self._limit_digits
        raise NumberTooLarge(
            f"The result of this step has more than {HEADROOM * limit} digits, and the number itself "
            f"may have {limit}: write a smaller expression.",
            limit_digits=limit,
            position=position,
        )


@functools.lru_cache(maxsize=64)
def _primorial(bound: int) -> int:
    """Return the product of the primes up to `bound`, by the sieve of Eratosthenes."""
    is_prime = bytearray([0, 0]) + bytearray([1]) * (bound - 1)
    for p in range(2, math.isqrt(bound) + 1):
        if is_prime[p]:
            is_prime[p * p :: p] = bytes(len(range(p * p, bound + 1, p)))
    return math.prod(itertools.compress(range(bound + 1), is_prime))
