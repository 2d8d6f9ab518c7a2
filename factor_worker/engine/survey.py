"""The survey, the first look at a number: everything that takes seconds at most."""

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
"""Composites up to this size are factored completely: the tiny sieve takes them, in some 20 ms at most."""

SHORT_TRIAL: Final = 20_000
"""Primes below this are divided out of such a number first; the tiny sieve finds larger ones as quickly."""


def survey(n: int) -> Decomposition:
    """Return what can be learnt of n >= 2 within a few seconds, for 1 000 digits and more.

    That is algebraic factors, small primes, perfect powers, two primes close together (Fermat), and all
    of a number that is small enough. Primes of up to `whole.PROOF_INSIDE_DIGITS` come back proven, larger
    ones `probable`. A part that is left composite has more than `WHOLE_DIGITS` digits and no prime factor
    below `trial.LIMIT`, and is no perfect power.

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
    """Return what can be learnt of a number without small prime factors."""
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
