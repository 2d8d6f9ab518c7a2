"""Parameters: how a number is sieved. They are chosen once and travel with every sieve unit.

Tuned values come from a table by the size of n and are interpolated between its rows; the multiplier
comes from Knuth's and Schroeppel's function.
"""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, Self

import gmpy2

BLOCK: Final = 1 << 15
"""Positions in a block of the sieve interval: one byte each, as many as a 32 KB first-level cache has."""
MULTIPLIER_LIMIT: Final = 250
"""Multipliers are below this: larger ones make values grow by more than they could ever gain."""
SCORED_PRIMES: Final = 300
"""How many odd primes score a multiplier."""
SCORE_BITS: Final = 8
"""Binary places after the point in a multiplier's score, which is kept as an integer."""
EXCESS: Final = 96
"""Relations wanted beyond the size of the factor base, so that there are enough dependencies."""


class Parameters(NamedTuple):
    """Everything that decides which relations a unit finds, as plain integers that a message can carry."""

    multiplier: int
    """k ≡ n (mod 8), so that kn ≡ 1 (mod 8): then X² - kn is a multiple of 8 for every odd X."""
    size: int
    """Entries of the factor base; entry 0 is -1 and entry 1 is 2."""
    blocks: int
    """Blocks of `BLOCK` positions that are sieved of each polynomial."""
    skip: int
    """Primes below this are not sieved (the small prime variation)."""
    slack: int
    """Bits by which a position may miss the threshold: what the skipped primes could contribute."""
    large_bound: int
    """The largest large prime."""
    cofactor_bound: int
    """The largest cofactor that is split into two large primes; 0 if relations have at most one."""
    factors: int
    """s, the primes of an a-coefficient; each a has 2^(s - 1) polynomials."""

    @property
    def needed(self) -> int:
        """About how many usable relations it takes: full ones plus independent cycles of partial ones."""
        return self.size + EXCESS

    @property
    def half_interval(self) -> int:
        """M, half the length of the sieve interval: polynomials are sieved at -M ≤ x < M."""
        return self.blocks * BLOCK // 2

    def to_dict(self) -> dict[str, int]:
        """Return the parameters as a message carries them; `from_dict` reads them back."""
        return self._asdict()

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return the parameters that a message holds.

        Raises:
            ValueError: a parameter is missing, unknown or not an integer.
        """
        if set(values) != set(cls._fields) or any(type(v) is not int for v in values.values()):
            message = f"parameters are the integers {', '.join(cls._fields)}"
            raise ValueError(message)
        return cls(**values)


class Row(NamedTuple):
    """Tuned values for numbers of one size; between two rows they are interpolated."""

    bits: int
    """Bits of n."""
    size: int
    interval: int
    """Positions that are sieved of each polynomial, 2M."""
    skip: int
    slack: int
    large_multiple: int
    """`large_bound` in multiples of the largest prime of the base."""


_TABLE: Final = (
    Row(bits=70, size=80, interval=1 * BLOCK, skip=20, slack=10, large_multiple=20),
    Row(bits=100, size=150, interval=1 * BLOCK, skip=40, slack=12, large_multiple=30),
    Row(bits=133, size=480, interval=2 * BLOCK, skip=100, slack=16, large_multiple=40),
    Row(bits=166, size=1500, interval=2 * BLOCK, skip=180, slack=20, large_multiple=40),
    Row(bits=199, size=5500, interval=2 * BLOCK, skip=200, slack=22, large_multiple=80),
    Row(bits=232, size=18500, interval=2 * BLOCK, skip=256, slack=24, large_multiple=60),
    Row(bits=249, size=33000, interval=3 * BLOCK, skip=256, slack=24, large_multiple=60),
    Row(bits=266, size=40000, interval=3 * BLOCK, skip=230, slack=18, large_multiple=75),
    Row(bits=299, size=90000, interval=5 * BLOCK, skip=256, slack=18, large_multiple=90),
    Row(bits=332, size=150000, interval=6 * BLOCK, skip=256, slack=18, large_multiple=100),
    Row(bits=365, size=240000, interval=8 * BLOCK, skip=256, slack=18, large_multiple=110),
)
DOUBLE_FROM_BITS: Final = 256
"""Numbers of this many bits and more, about 78 digits, are sieved with two large primes."""
COFACTOR_EXPONENT: Final = 1.8
"""`cofactor_bound` is `large_bound` to this power: larger products are too seldom of two large primes."""
IDEAL_FACTOR: Final = 1600
"""Primes of a are about this large where the factor base allows it: the sieve misses smaller ones more."""


def choose(n: int) -> Parameters:
    """Return the parameters for n, which is odd, composite and no perfect power.

    The same n always gets the same parameters.
    """
    bits = n.bit_length()
    row = interpolated(_TABLE, bits)
    k = multiplier(n)
    size = int(row.size)
    largest = _nth_prime(2 * size)
    large_bound = int(row.large_multiple * largest)
    blocks = round(row.interval / BLOCK)
    half_interval = blocks * BLOCK // 2
    a_bits = math.log2(n * k // 2) / 2 - math.log2(half_interval)
    ideal = min(IDEAL_FACTOR, largest // 6)
    return Parameters(
        multiplier=k,
        size=size,
        blocks=blocks,
        skip=int(row.skip),
        slack=int(row.slack),
        large_bound=large_bound,
        cofactor_bound=int(large_bound**COFACTOR_EXPONENT) if bits >= DOUBLE_FROM_BITS else 0,
        factors=max(2, round(a_bits / math.log2(ideal))),
    )


def interpolated(table: Sequence[Row], bits: int) -> Row:
    """Return the row for numbers of `bits` bits, interpolated linearly (the base size geometrically)."""
    bits = min(max(bits, table[0].bits), table[-1].bits)
    upper = next(index for index, row in enumerate(table) if row.bits >= bits)
    low, high = table[max(upper - 1, 0)], table[upper]
    share = (bits - low.bits) / (high.bits - low.bits) if high.bits > low.bits else 0.0
    values = [round(one + (other - one) * share) for one, other in zip(low, high, strict=True)]
    size = round(low.size * (high.size / low.size) ** share)
    return Row(*values)._replace(size=size)


def _nth_prime(count: int) -> int:
    """Return about the `count`-th prime."""
    return round(count * (math.log(count) + math.log(math.log(count)) - 0.95))


def multiplier(n: int, *, scored_primes: int = SCORED_PRIMES) -> int:
    """Return the squarefree k ≡ n (mod 8) that makes X² - kn smooth most often.

    The score is Knuth's and Schroeppel's function: a prime p of the factor base contributes
    2·log p/(p - 1) on average if it does not divide k, about log p/p if it does, and ½·log k, by which
    values grow, is subtracted. Other residues of kn modulo 8 are not tried: they lose two or more
    powers of 2, which no odd prime makes up for. `scored_primes` is the number of odd primes in the sum.

    Source: Silverman, "The multiple polynomial quadratic sieve" (1987).
    """
    primes, planes, candidates = _scores(n % 8, scored_primes)
    squares = _set_bits([gmpy2.jacobi(n, p) == 1 for p in primes])

    def score(candidate: _Candidate) -> int:
        # kn is a square modulo p if n and k both are, or neither is.
        in_base = candidate.coprime & ~(candidate.squares ^ squares)
        gains = 0
        for plane in planes:
            gains = 2 * gains + (in_base & plane).bit_count()
        return candidate.constant + gains

    return max(candidates, key=score).multiplier


class _Candidate(NamedTuple):
    """A multiplier k with sets of primes, one bit each; integer scores are the same on every machine."""

    multiplier: int
    coprime: int
    """The primes that do not divide k."""
    squares: int
    """The primes modulo which k is a square."""
    constant: int
    """The part of k's score that does not depend on n, in units of 2^-`SCORE_BITS`."""


@lru_cache(maxsize=8)
def _scores(residue: int, scored_primes: int) -> tuple[list[int], list[int], list[_Candidate]]:
    """Return the primes, their gains as bit planes from the highest bit down, and every candidate k.

    A plane is the set of primes whose gain has a 1 at one binary place, so that the gains of a set of
    primes are summed by counting bits.
    """
    primes = _odd_primes(scored_primes)
    gains = [_score(2 * math.log(p) / (p - 1)) for p in primes]
    places = reversed(range(max(gains).bit_length()))
    planes = [_set_bits(gain >> place & 1 for gain in gains) for place in places]
    candidates = [
        _Candidate(
            multiplier=k,
            coprime=_set_bits(k % p for p in primes),
            squares=_set_bits(gmpy2.jacobi(k, p) == 1 for p in primes),
            constant=_score(sum(math.log(p) / p for p in primes if k % p == 0) - math.log(k) / 2),
        )
        for k in range(residue, MULTIPLIER_LIMIT, 8)
        if _is_squarefree(k)
    ]
    return primes, planes, candidates


def _score(value: float) -> int:
    return round(value * (1 << SCORE_BITS))


def _set_bits(flags: Iterable[object]) -> int:
    return int("".join(["1" if flag else "0" for flag in flags]), 2)


def _odd_primes(count: int) -> list[int]:
    primes: list[int] = []
    candidate = 3
    while len(primes) < count:
        primes.append(candidate)
        candidate = int(gmpy2.next_prime(candidate))
    return primes


def _is_squarefree(k: int) -> bool:
    return all(k % (root * root) for root in range(2, math.isqrt(k) + 1))
