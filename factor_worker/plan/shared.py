"""What composites share with other numbers that were asked for: a gcd is nothing beside a sieve. Pure."""

import math
from collections.abc import Collection, Iterable, Iterator

from msgspec.structs import replace

from common.domain import BigInt, Certainty, Factorization, Part, distinct
from factor_worker.engine import coprime, parts
from factor_worker.plan import policy

SMALLEST = 1 << 64
"""Smaller factors are found by a survey or by the first curves."""


def has_hard(known: Factorization) -> bool:
    """Return whether a composite is left that is worth comparing with other numbers."""
    return known.active and any(_is_hard(part) for part in known.parts)


def worth_comparing(numbers: Iterable[int]) -> list[int]:
    """Return those of some numbers that a composite may be compared with, each once."""
    return distinct(number for number in numbers if number > SMALLEST)


def multiples(known: Factorization, others: Iterable[int]) -> list[int]:
    """Return those of some other numbers that a composite of this one may split."""
    hard = [int(part.value) for part in known.parts if part.certainty is Certainty.COMPOSITE]
    return [
        other
        for other in others
        if other != known.number
        and any(1 < math.gcd(value, other) < other // SMALLEST for value in hard)
    ]


def divided(known: Factorization, others: Collection[int]) -> Factorization:
    """Return the number with its hard composites split by what they share with other numbers.

    It is the same object if they share nothing, and not yet the next version.
    """
    if not others or not has_hard(known):
        return known
    pieces = tuple(piece for part in known.parts for piece in _pieces(part, others))
    return known if pieces == known.parts else replace(known, parts=pieces)


def _is_hard(part: Part) -> bool:
    hard = part.certainty is Certainty.COMPOSITE and part.digits > policy.WHOLE_LIMIT_DIGITS
    return hard and part.left is None


def _pieces(part: Part, others: Collection[int]) -> Iterator[Part]:
    """Yield what a part is split into, each piece with the effort spent on it; or the part itself."""
    common = _common_divisors(part.value, others) if _is_hard(part) else []
    if not common:
        yield part
        return
    whole = parts.Part(int(part.value), part.exponent, parts.Certainty.COMPOSITE)
    for value, exponent, certainty in coprime.split([whole], common):
        known = Certainty(certainty.value)
        yield Part(value=BigInt(value), exponent=exponent, certainty=known, effort=part.effort)


def _common_divisors(value: int, others: Collection[int]) -> list[int]:
    """Return the proper divisors that a value shares with others: one gcd tells if there are none."""
    value, product = int(value), 1
    for other in others:
        rest = int(other) % value
        product = product * (rest or 1) % value  # a multiple does not split it
    if math.gcd(product, value) == 1:
        return []
    found = (math.gcd(value, int(other)) for other in others)
    return distinct(each for each in found if 1 < each < value)
