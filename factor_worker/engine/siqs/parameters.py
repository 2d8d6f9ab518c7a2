"""What a sieve of a number of some size is made of: multiplier, factor base, interval, bounds.

The parameters are resolved in full before the first unit, so that every worker sieves the same
polynomials in the same way whatever its release's table says.
"""

from typing import Any, Final, NamedTuple

import gmpy2

MULTIPLIERS: Final = tuple(
    k for k in range(1, 74) if all(k % (p * p) for p in (2, 3, 5, 7))
)
"""Squarefree multipliers that are tried."""
SCORED_PRIMES: Final = 300
"""Primes below this speak for or against a multiplier; larger ones decide nothing."""
BLOCK: Final = 1 << 15
"""Bytes of the sieve interval that are worked on at a time: the first-level cache of most machines."""


class Parameters(NamedTuple):
    """A sieve's parameters, the same for all of its units."""

    multiplier: int
    """k: the sieve works on kN."""
    base: int
    """How many entries the factor base has, with -1 and 2."""
    blocks: int
    """Blocks of 32 KB in a polynomial's interval."""
    sieved_from: int
    """Primes below this are not sieved but divided out (the small-prime variation)."""
    slack: int
    """Bits that the primes left out may contribute."""
    large_bound: int
    """Large primes are at most this."""
    cofactor_bound: int
    """Products of two large primes are at most this; 0 if relations have one at most."""
    a_factors: int
    """How many primes make up the leading coefficient a."""
    needed: int
    """Relations to be expected before there are enough, for a first estimate."""

    def as_dict(self) -> dict[str, int]:
        """Return what a message carries."""
        return self._asdict()

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Parameters":
        """Return what a message carried.

        Raises:
            TypeError: a name is missing, unknown or not an integer.
        """
        if not all(type(value) is int for value in values.values()):
            raise TypeError("sieve parameters are integers")
        return cls(**values)


class _Row(NamedTuple):
    """A line of the table: values for kN of so many bits."""

    bits: float
    base: float
    blocks: float
    sieved_from: float
    slack: float
    large_factor: float
    """Bound of the large primes over the largest prime of the base."""
    a_bits: float
    """Size of the primes that make up a."""


TABLE: Final = (
    _Row(80, 100, 1, 74, 14, 20, 7.3),
    _Row(100, 150, 1, 74, 16, 30, 7.6),
    _Row(133, 500, 1, 128, 18, 40, 9.0),
    _Row(166, 1600, 2, 256, 20, 50, 10.2),
    _Row(199, 5000, 2, 200, 24, 100, 10.8),
    _Row(232, 17500, 6, 200, 24, 100, 11.2),
    _Row(249, 30000, 8, 200, 24, 100, 11.2),
    _Row(266, 45000, 8, 230, 16, 90, 11.0),
    _Row(299, 90000, 10, 256, 16, 100, 11.2),
    _Row(332, 150000, 12, 256, 16, 110, 11.3),
    _Row(365, 240000, 16, 256, 16, 120, 11.4),
)
TWO_LARGE_FROM_BITS: Final = 257
"""From this size on relations may have two large primes."""


def choose(n: int) -> Parameters:
    """Return the parameters for an odd composite n that is not a perfect power, 25 to 110 digits."""
    bits = n.bit_length()
    row = _interpolated(bits)
    multiplier = _multiplier(n)
    base = int(row.base)
    from factor_worker.engine.siqs import factor_base

    biggest = factor_base.first(n * multiplier, base)[-1]
    blocks = max(1, round(row.blocks))
    large = min(int(biggest * row.large_factor), biggest * biggest)
    two = bits >= TWO_LARGE_FROM_BITS
    kn_bits = gmpy2.log2(2 * multiplier * n)
    a_bits = kn_bits / 2 - gmpy2.log2(blocks * BLOCK / 2)
    return Parameters(
        multiplier=multiplier,
        base=base,
        blocks=blocks,
        sieved_from=int(row.sieved_from),
        slack=round(row.slack),
        large_bound=large,
        cofactor_bound=int(float(large) ** 1.8) if two else 0,
        a_factors=max(3, round(float(a_bits / row.a_bits))),
        needed=base,
    )


def _interpolated(bits: int) -> _Row:
    """Return the table's values between its lines."""
    if bits <= TABLE[0].bits:
        return TABLE[0]
    for low, high in zip(TABLE, TABLE[1:], strict=False):
        if bits <= high.bits:
            share = (bits - low.bits) / (high.bits - low.bits)
            return _Row(*(x * (y / x) ** share for x, y in zip(low, high, strict=True)))
    return TABLE[-1]


def _multiplier(n: int) -> int:
    """Return k for which kN is most often divisible by small primes.

    Source: Silverman, "The multiple polynomial quadratic sieve" (1987), after Knuth and Schroeppel.
    """
    return max(
        (k for k in MULTIPLIERS if gmpy2.gcd(k, n) == 1), key=lambda k: (_score(n * k, k), -k)
    )


def _score(kn: int, k: int) -> float:
    """Return the natural logarithm of what small primes divide out, less the growth by k."""
    twos = {1: 2.0, 5: 1.0, 3: 0.5, 7: 0.5}.get(kn % 8, 0.5)
    score = twos * float(gmpy2.log(2)) - float(gmpy2.log(k)) / 2
    prime = 3
    while prime < SCORED_PRIMES:
        residue = gmpy2.legendre(kn, prime)
        logarithm = float(gmpy2.log(prime))
        if residue == 1:
            score += 2 * logarithm / (prime - 1)
        elif residue == 0:
            score += logarithm / prime
        prime = int(gmpy2.next_prime(prime))
    return score
