"""Decompositions: the form in which the engine states what it knows of a number, and how certain it is."""

import math
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple


class EngineError(Exception):
    """Something that the engine needs is missing or failed; the message says what, and what to do."""


class Certainty(StrEnum):
    """What is known of the value of a part."""

    PROVEN = "proven"
    """Prime, by a proof (below 2^64, BPSW is one)."""
    PROBABLE = "probable"
    """It passed BPSW, which no composite number is known to do."""
    COMPOSITE = "composite"
    """Certainly not prime, and not factored yet."""


class Part(NamedTuple):
    """`value` to the power of `exponent`, as one factor of a decomposition."""

    value: int
    exponent: int
    certainty: Certainty


Decomposition = tuple[Part, ...]
"""Parts whose product is the number: values above 1, ascending, pairwise coprime."""


def ordered(parts: Iterable[Part]) -> Decomposition:
    """Return pairwise coprime parts as a decomposition, in ascending order."""
    return tuple(sorted(parts))


def product(parts: Iterable[Part]) -> int:
    """Return the product of the parts."""
    return math.prod(part.value**part.exponent for part in parts)


def raised(parts: Iterable[Part], exponent: int) -> Decomposition:
    """Return the decomposition of the parts' product to the power of `exponent`."""
    return tuple(part._replace(exponent=part.exponent * exponent) for part in parts)


def digits(n: int) -> int:
    """Return how many decimal digits a positive integer has, without writing them out."""
    fewest = int((n.bit_length() - 1) * math.log10(2)) + 1
    return fewest + int(n >= 10**fewest)


def split_value(value: int, divisor: int) -> list[int]:
    """Return value as two factors if it shares a nontrivial one with `divisor`, else value alone."""
    common = math.gcd(value, divisor)
    return [value] if common in {1, value} else [common, value // common]


def require_above_one(n: int) -> None:
    """Raise ValueError for 0, 1 and negative numbers, which have no decomposition."""
    if n < 2:  # noqa: PLR2004 - the first number that has one
        message = f"{n} has no decomposition: the caller answers for numbers below 2"
        raise ValueError(message)
