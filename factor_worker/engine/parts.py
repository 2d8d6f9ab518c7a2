"""The value in which the engine says what it knows of a number: its parts, and how sure each is."""

import math
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple


class EngineError(Exception):
    """Something that the engine needs is missing or misbehaves; the message says what to do."""


class Certainty(StrEnum):
    """What is known of one part."""

    PROVEN = "proven"
    """Prime, by a proof (below 2^64, BPSW is one)."""
    PROBABLE = "probable"
    """Passed BPSW; no composite number is known that does."""
    COMPOSITE = "composite"
    """Certainly not prime, and not factored yet."""


class Part(NamedTuple):
    """`value` to the power of `exponent`, as it stands in a decomposition."""

    value: int
    exponent: int
    certainty: Certainty


Decomposition = tuple[Part, ...]
"""Parts whose product is the number: values above 1, ascending, pairwise coprime."""


def ordered(parts: Iterable[Part]) -> Decomposition:
    """Return parts that are pairwise coprime as a decomposition."""
    return tuple(sorted(parts))


def product(parts: Iterable[Part]) -> int:
    """Return the number that the parts make up."""
    return math.prod(part.value**part.exponent for part in parts)


def raised(parts: Iterable[Part], exponent: int) -> Decomposition:
    """Return the decomposition of the number to the power of `exponent`."""
    return tuple(part._replace(exponent=part.exponent * exponent) for part in parts)


def digits(n: int) -> int:
    """Return the count of decimal digits of a positive integer, of any size."""
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
