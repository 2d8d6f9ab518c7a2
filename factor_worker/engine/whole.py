"""Complete factorizations in one call: by FLINT below 60 bits, above that by our own sieves."""

from typing import Final

from flint import fmpz

from factor_worker.engine import coprime, powers, primality
from factor_worker.engine.parts import (
    Certainty,
    Decomposition,
    Part,
    digits,
    ordered,
    raised,
    require_above_one,
)

PROOF_INSIDE_DIGITS: Final = 100
"""Primes up to this size are proven at once; larger ones come back `probable`."""


def factor_completely(n: int) -> Decomposition:
    """Return n >= 2 as a product of primes, proven up to `PROOF_INSIDE_DIGITS`.

    Divide small primes out of n first: a sieve takes as long for a number with a small factor as for any
    other of its size. Even numbers, perfect powers and what a sieve fails on go to FLINT.

    Raises:
        ValueError: n is below 2.
    """
    require_above_one(n)
    part = prime_part(n, 1)
    if part.certainty is not Certainty.COMPOSITE:
        return (part,)
    if n % 2 == 0 or powers.perfect_power(n)[1] > 1:
        return _by_flint(n)
    from factor_worker.engine.siqs import complete  # noqa: PLC0415 numba: only where needed
    from factor_worker.engine.siqs.tiny import tiny  # noqa: PLC0415 numba: only where needed

    if n.bit_length() < tiny.SMALLEST_BITS:
        return _by_flint(n)
    divisors = tiny.factor(n) if tiny.takes(n) else complete.factor(n)
    pieces = coprime.split([Part(n, 1, Certainty.COMPOSITE)], divisors)
    if len(pieces) == 1:
        return _by_flint(n)
    return ordered(
        found
        for piece in pieces
        for found in raised(factor_completely(piece.value), piece.exponent)
    )


def _by_flint(n: int) -> Decomposition:
    """Return n as a product of primes.

    FLINT's quadratic sieve keeps its relations in a file, /tmp/siqsXXXXXX, which it removes at the end, but
    not when it is killed.
    """
    return ordered(prime_part(int(p), exponent) for p, exponent in fmpz(n).factor())


def prime_part(p: int, exponent: int) -> Part:
    """Return p to the power of `exponent` as a part, its primality proven up to `PROOF_INSIDE_DIGITS`."""
    prove = digits(p) <= PROOF_INSIDE_DIGITS
    return Part(p, exponent, primality.classify(p, prove=prove))
