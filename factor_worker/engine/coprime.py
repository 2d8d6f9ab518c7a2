"""Factor refinement: from numbers that may share factors to a coprime base of them."""

import math
from collections.abc import Iterable

from factor_worker.engine import powers, primality
from factor_worker.engine.parts import (
    Certainty,
    Decomposition,
    Part,
    ordered,
    raised,
    split_value,
)


def refine(values: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Return (base, exponent) pairs, ascending, with pairwise coprime bases and the product of the values.

    Every value is a product of powers of the bases. Values of 1 are ignored.
    Source: Bach, Driscoll and Shallit, "Factor refinement" (1993), in its simplest form.
    """
    base: list[tuple[int, int]] = []
    todo = [(value, 1) for value in values]
    while todo:
        value, exponent = todo.pop()
        if value > 1:
            todo += _insert(base, value, exponent)
    return tuple(sorted(base))


def _insert(base: list[tuple[int, int]], value: int, exponent: int) -> list[tuple[int, int]]:
    """Insert a power that is coprime to the base; else remove what it meets, and return both in pieces."""
    for index, (other, times) in enumerate(base):
        common = math.gcd(value, other)
        if common > 1:
            del base[index]
            pieces = [(value // common, exponent), (other // common, times)]
            return [*pieces, (common, exponent + times)]
    base.append((value, exponent))
    return []


def split(parts: Iterable[Part], divisors: Iterable[int]) -> Decomposition:
    """Return the same number with its composite parts split by what they share with the divisors.

    New pieces are reduced to roots of perfect powers and classified without a proof; prime parts stay as
    they are. Divisors may be composite or negative, and may divide nothing.

    Raises:
        ValueError: a divisor is 0.
    """
    known = [abs(divisor) for divisor in divisors]
    if 0 in known:
        message = "zero divides nothing"
        raise ValueError(message)
    return ordered(piece for part in parts for piece in _split_part(part, known))


def _split_part(part: Part, divisors: list[int]) -> Decomposition:
    if part.certainty is not Certainty.COMPOSITE:
        return (part,)
    pieces = [part.value]
    for divisor in divisors:
        pieces = [half for piece in pieces for half in split_value(piece, divisor)]
    if len(pieces) == 1:
        return (part,)
    found = [_classified(base, times) for base, times in refine(pieces)]
    return raised(found, part.exponent)


def _classified(value: int, exponent: int) -> Part:
    root, power = powers.perfect_power(value)
    return Part(root, exponent * power, primality.classify(root, prove=False))
