"""The first look at a number: everything that costs little, and all of it when that is enough."""

from collections import Counter
from typing import Final

from factor_worker.engine import algebraic, coprime, fermat, powers, trial, whole
from factor_worker.engine.parts import (
    Certainty,
    Decomposition,
    Part,
    digits,
    ordered,
    raised,
    require_above_one,
)

WHOLE_DIGITS: Final = 43
"""Composites up to this size are factored on the spot: what the tiny sieve takes, in 20 ms at most."""

SHORT_TRIAL: Final = 20_000
"""Primes that are divided out of such a number first; it is as quick to sieve for larger ones."""


def survey(n: int) -> Decomposition:
    """Return what can be learnt of n >= 2 in a few seconds, for up to 1 000 digits and more.

    Primes up to 100 digits come back proven, larger ones `probable`; what is left composite has
    no prime factor below `trial.LIMIT`, is no perfect power and has more than `WHOLE_DIGITS`
    digits.

    Raises:
        ValueError: n is below 2.
    """
    require_above_one(n)
    root, exponent = powers.perfect_power(n)
    return raised(_survey_root(root), exponent)


def _survey_root(n: int) -> Decomposition:
    limit = trial.LIMIT if digits(n) > WHOLE_DIGITS else SHORT_TRIAL
    small: Counter[int] = Counter()
    rests: list[int] = []
    for piece in algebraic.pieces(n):
        primes, rest = trial.divide(piece, limit=limit)
        small.update(dict(primes))
        rests.append(rest)
    parts = [Part(p, exponent, Certainty.PROVEN) for p, exponent in small.items()]
    for value, exponent in coprime.refine(rests):
        parts += raised(_resolve(value), exponent)
    return ordered(parts)


def _resolve(n: int) -> Decomposition:
    """Return what is known of a number without small prime factors."""
    root, exponent = powers.perfect_power(n)
    if exponent > 1:
        return raised(_resolve(root), exponent)
    part = whole.prime_part(n, 1)
    if part.certainty is not Certainty.COMPOSITE:
        return (part,)
    if digits(n) <= WHOLE_DIGITS:
        return whole.factor_completely(n)
    near = fermat.divisor(n)
    if near is None:
        return (part,)
    pieces = coprime.refine([near, n // near])
    return ordered(found for value, times in pieces for found in raised(_resolve(value), times))
