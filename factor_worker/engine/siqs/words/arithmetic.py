"""Words and multi-word integers: the arithmetic that numba has no names for.

A number of L words is uint64[L], little-endian, in two's complement if it may be negative; results are
modulo 2^(64·L). Everything is `uint64`, constants too: numba turns a mix of signed and unsigned
integers into a float.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from factor_worker.engine.siqs.words.arrays import Limbs

if TYPE_CHECKING:
    from collections.abc import Callable

Word = np.uint64

ZERO: Final = np.uint64(0)
ONE: Final = np.uint64(1)
TOP_BIT: Final = np.uint64(63)
"""The place of a word's highest bit."""


@intrinsic
def _multiply_high(_typing: Any, left: Any, right: Any) -> Any:
    def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        double = ir.IntType(128)
        left_wide, right_wide = (builder.zext(one, double) for one in arguments)
        product = builder.mul(left_wide, right_wide)
        return builder.trunc(builder.lshr(product, ir.Constant(double, 64)), ir.IntType(64))

    return types.uint64(left, right), code


@intrinsic
def _trailing_zeros(_typing: Any, word: Any) -> Any:
    def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(word), code


@intrinsic
def _leading_zeros(_typing: Any, word: Any) -> Any:
    def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(word), code


multiply_high = cast("Callable[[Word, Word], Word]", _multiply_high)
"""Return the upper 64 bits of the product of two words."""
trailing_zeros = cast("Callable[[Word], Word]", _trailing_zeros)
"""Return how many zero bits a word ends in; 64 for 0."""
leading_zeros = cast("Callable[[Word], Word]", _leading_zeros)
"""Return how many zero bits a word begins with; 64 for 0."""


@njit(cache=True)
def is_negative(number: Limbs) -> bool:
    """Return whether a number in two's complement is below zero."""
    return bool(number[len(number) - 1] >> TOP_BIT)


@njit(cache=True)
def bit_length(number: Limbs) -> np.int64:
    """Return how many bits a number ≥ 0 has."""
    for limb in range(len(number) - 1, -1, -1):
        if number[limb]:
            return 64 * (limb + 1) - np.int64(leading_zeros(number[limb]))
    return np.int64(0)


@njit(cache=True)
def negate(number: Limbs) -> None:
    """Change the sign of a number, in place."""
    carry = ONE
    for limb in range(len(number)):
        word = ~number[limb] + carry
        carry = ONE if word < carry else ZERO
        number[limb] = word


@njit(cache=True)
def add_product(total: Limbs, number: Limbs, factor: Word) -> None:
    """Add number · factor to the total, in place."""
    carry = ZERO
    for limb in range(len(total)):
        low = number[limb] * factor
        upper = multiply_high(number[limb], factor)
        low += carry
        upper += ONE if low < carry else ZERO
        low += total[limb]
        upper += ONE if low < total[limb] else ZERO
        total[limb] = low
        carry = upper


@njit(cache=True)
def subtract_product(total: Limbs, number: Limbs, factor: Word) -> None:
    """Subtract number · factor from the total, in place."""
    borrow = ZERO
    for limb in range(len(total)):
        low = number[limb] * factor
        upper = multiply_high(number[limb], factor)
        low += borrow
        upper += ONE if low < borrow else ZERO
        upper += ONE if total[limb] < low else ZERO
        total[limb] -= low
        borrow = upper


@njit(cache=True)
def multiply(number: Limbs, factor: Word) -> Word:
    """Multiply a number ≥ 0 by a word, in place; return the word that is carried out."""
    carry = ZERO
    for limb in range(len(number)):
        low = number[limb] * factor
        upper = multiply_high(number[limb], factor)
        low += carry
        upper += ONE if low < carry else ZERO
        number[limb] = low
        carry = upper
    return carry


@njit(cache=True)
def divide_exact(quotient: Limbs, number: Limbs, divisor: Word, inverse: Word) -> bool:
    """Write number / divisor to `quotient`; return whether the divisor divides the number.

    `inverse` is the inverse of the odd divisor modulo 2^64. The returned answer holds for numbers ≥ 0.
    If a negative number is a multiple of the divisor, its quotient is right all the same.

    Source: Jebelean, "An algorithm for exact division" (1993).
    """
    borrow = ZERO
    for limb in range(len(number)):
        word = number[limb]
        digit = (word - borrow) * inverse
        borrow = multiply_high(digit, divisor) + (ONE if word < borrow else ZERO)
        quotient[limb] = digit
    return not borrow


@njit(cache=True)
def word_inverse(n: Word) -> Word:
    """Return the inverse of an odd word modulo 2^64: Newton's iteration doubles the correct bits."""
    inverse = n  # correct modulo 8
    for _ in range(5):
        inverse *= np.uint64(2) - n * inverse
    return inverse


@njit(cache=True)
def modular_inverse(value: Word, n: Word) -> Word:
    """Return the inverse of a value below n < 2^63 modulo n, or 0 if there is none (Euclid)."""
    low, upper = np.int64(value), np.int64(n)
    x, y = np.int64(1), np.int64(0)
    while low > 1:
        ratio = upper // low
        low, upper = upper - ratio * low, low
        x, y = y - ratio * x, x
    if low == 0:
        return ZERO
    return np.uint64(x + np.int64(n) if x < 0 else x)


def to_limbs(number: int, count: int) -> Limbs:
    """Return an integer as uint64[count], modulo 2^(64·count)."""
    size = 8 * count
    return np.frombuffer((number % (1 << (8 * size))).to_bytes(size, "little"), dtype="<u8").astype(
        np.uint64
    )


def to_integers(rows: Limbs) -> Iterator[int]:
    """Yield each row of uint64[m, words] as an integer ≥ 0."""
    flat, size = rows.astype("<u8").tobytes(), 8 * rows.shape[1]
    return (int.from_bytes(flat[at : at + size], "little") for at in range(0, len(flat), size))
