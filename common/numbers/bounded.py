"""Exact integer arithmetic that refuses a result before computing it when it would be too large."""

import functools
import itertools
import math

from common.numbers.errors import ExpressionError, NumberTooLarge

BITS_PER_DIGIT = math.log2(10)
HEADROOM = 4
"""Intermediate results may have this many times the digits of the final limit."""
WORK = 32
"""The results of one expression may have, all together, this many times the bits of the largest."""


class Arithmetic:
    """The operators of one expression, with one limit and one purse of work for all of them.

    Every method takes the position of its operator, which its errors name. Sizes are known
    before anything is computed, so that a hostile expression costs microseconds.
    """

    def __init__(self, limit_digits: int) -> None:
        self._limit_digits = limit_digits
        self._limit_bits = math.ceil(HEADROOM * limit_digits * BITS_PER_DIGIT)
        self._purse = WORK * self._limit_bits

    def binary(self, symbol: str, left: int, right: int, position: int) -> int:
        """Return `left symbol right`, or raise what `position` has to answer for."""
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
            message = f"A negative number has no {name}: put the minus before, as in -(3{symbol})."
            raise ExpressionError(message, position=position)
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
            message = "This divides by zero."
            raise ExpressionError(message, position=position)
        quotient, remainder = divmod(left, right)
        if remainder:
            message = "The division is not exact: only divisions without a remainder are taken."
            raise ExpressionError(message, position=position)
        return quotient

    def _remainder(self, left: int, right: int, position: int) -> int:
        if right == 0:
            message = "The modulus is zero."
            raise ExpressionError(message, position=position)
        return left % right

    def _power(self, base: int, exponent: int, position: int) -> int:
        if exponent < 0:
            message = "A negative exponent gives a fraction: only integers can be factored."
            raise ExpressionError(message, position=position)
        if abs(base) <= 1:  # the only bases whose powers stay small, whatever the exponent
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
        self._purse -= result.bit_length()
        if self._purse < 0:
            message = "The expression takes too much work: write it with fewer large steps."
            raise ExpressionError(message, position=position)
        return result

    def _refuse(self, position: int) -> None:
        limit = self._limit_digits
        message = (
            f"This step has more than {HEADROOM * limit} digits, and the limit for the number "
            f"itself is {limit} digits: write a smaller expression."
        )
        raise NumberTooLarge(message, limit_digits=limit, position=position)


@functools.lru_cache(maxsize=64)
def _primorial(bound: int) -> int:
    """Return the product of the primes up to `bound`, by the sieve of Eratosthenes."""
    is_prime = bytearray([0, 0]) + bytearray([1]) * (bound - 1)
    for p in range(2, math.isqrt(bound) + 1):
        if is_prime[p]:
            is_prime[p * p :: p] = bytes(len(range(p * p, bound + 1, p)))
    return math.prod(itertools.compress(range(bound + 1), is_prime))
