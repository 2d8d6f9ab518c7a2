"""Arithmetic on integers of several 64-bit limbs, little-endian, for the compiled kernels."""

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types
from numba.core.errors import TypingError
from numba.extending import intrinsic

Limbs = npt.NDArray[np.uint64]

LIMBS: Final = 4
"""Values of polynomials fit into 256 bits with their sign, up to 140 digits of kN."""


def from_int(value: int, limbs: int = LIMBS) -> Limbs:
    """Return an integer modulo 2^(64·limbs)."""
    data = (value % (1 << 64 * limbs)).to_bytes(8 * limbs, "little")
    return np.frombuffer(data, dtype="<u8").astype(np.uint64)


def from_ints(values: Iterable[int]) -> Limbs:
    """Return integers modulo 2^(64·LIMBS) as uint64[m, LIMBS]."""
    data = b"".join((value % (1 << 64 * LIMBS)).to_bytes(8 * LIMBS, "little") for value in values)
    return np.frombuffer(data, dtype="<u8").astype(np.uint64).reshape(-1, LIMBS)


@intrinsic  # type: ignore[untyped-decorator]
def high(_context: Any, left: Any, right: Any) -> Any:
    """Return the upper 64 bits of a product of two uint64."""
    if left != types.uint64 or right != types.uint64:
        raise TypingError("high() takes uint64")

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(*(builder.zext(one, wide) for one in arguments))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(left, right), generate


@intrinsic  # type: ignore[untyped-decorator]
def trailing_zeros(_context: Any, value: Any) -> Any:
    """Return how many low bits of a uint64 are 0."""
    if value != types.uint64:
        raise TypingError("trailing_zeros() takes uint64")

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(value), generate


@intrinsic  # type: ignore[untyped-decorator]
def leading_zeros(_context: Any, value: Any) -> Any:
    """Return how many high bits of a uint64 are 0."""
    if value != types.uint64:
        raise TypingError("leading_zeros() takes uint64")

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(value), generate


@njit(cache=True)
def bits(value: Limbs) -> int:
    """Return the bit length."""
    for place in range(len(value) - 1, -1, -1):
        if value[place]:
            return 64 * place + 64 - np.int64(leading_zeros(value[place]))
    return 0


@njit(cache=True)
def multiply(left: Limbs, right: Limbs, out: Limbs) -> None:
    """Put left·right into `out`, modulo its size."""
    out[:] = np.uint64(0)
    size = len(out)
    for i in range(min(len(left), size)):
        carry = np.uint64(0)
        for j in range(min(len(right), size - i)):
            low = left[i] * right[j]
            top = high(left[i], right[j])
            low += carry
            top += np.uint64(low < carry)
            low += out[i + j]
            top += np.uint64(low < out[i + j])
            out[i + j] = low
            carry = top
        if i + len(right) < size:
            out[i + len(right)] = carry


@njit(cache=True)
def add(value: Limbs, other: Limbs) -> None:
    """Add in place."""
    carry = np.uint64(0)
    for i in range(len(value)):
        total = value[i] + carry
        carry = np.uint64(total < carry)
        total += other[i]
        carry += np.uint64(total < other[i])
        value[i] = total


@njit(cache=True)
def subtract(value: Limbs, other: Limbs) -> None:
    """Subtract in place."""
    borrow = np.uint64(0)
    for i in range(len(value)):
        total = value[i] - borrow
        borrow = np.uint64(total > value[i])
        rest = total - other[i]
        borrow += np.uint64(rest > total)
        value[i] = rest


@njit(cache=True)
def add_product(value: Limbs, left: Limbs, right: np.uint64) -> None:
    """Add left·right in place, modulo the size."""
    carry = np.uint64(0)
    for i in range(len(value)):
        low = left[i] * right
        top = high(left[i], right)
        low += carry
        top += np.uint64(low < carry)
        value[i] += low
        carry = top + np.uint64(value[i] < low)


@njit(cache=True)
def negate(value: Limbs) -> None:
    """Change the sign in place, in two's complement."""
    carry = np.uint64(1)
    for i in range(len(value)):
        value[i] = ~value[i] + carry
        carry = np.uint64(carry and value[i] == np.uint64(0))


@njit(cache=True)
def shift_right(value: Limbs, count: np.uint64) -> None:
    """Divide in place by a power of two, less than 2^64."""
    if count == np.uint64(0):
        return
    for i in range(len(value) - 1):
        value[i] = (value[i] >> count) | (value[i + 1] << (np.uint64(64) - count))
    value[len(value) - 1] >>= count


@njit(cache=True)
def divide_exactly(value: Limbs, divisor: np.uint64, inverse: np.uint64, out: Limbs) -> bool:
    """Put value / divisor into `out` and say whether the division is exact.

    `inverse` is that of the divisor modulo 2^64. Source: Jebelean, "An algorithm for exact
    division" (1993).
    """
    borrow = np.uint64(0)
    for i in range(len(value)):
        rest = value[i] - borrow
        below = np.uint64(rest > value[i])
        out[i] = rest * inverse
        borrow = high(out[i], divisor) + below
    return borrow == np.uint64(0)


@njit(cache=True)
def scale(value: Limbs, factor: np.uint64) -> bool:
    """Multiply in place by one limb and say whether the product fits."""
    carry = np.uint64(0)
    for i in range(len(value)):
        low = value[i] * factor
        top = high(value[i], factor)
        low += carry
        top += np.uint64(low < carry)
        value[i] = low
        carry = top
    return carry == np.uint64(0)
