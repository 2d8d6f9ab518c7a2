"""Parameters: how to sieve a number, chosen once and sent along with every unit."""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, Self

import gmpy2

BLOCK: Final = 1 << 15
"""Sieve positions worked on at a time: what fits into a core's first-level cache."""
LARGEST_MULTIPLIER: Final = 250
"""Larger multipliers cost more than they could ever bring."""
SCORED_PRIMES: Final = 300
"""Odd primes that a multiplier is judged by."""
SCORE_BITS: Final = 8
"""Binary places of a multiplier's score."""
MARGIN: Final = 96
"""Relations beyond the size of the factor base, so that there are enough dependencies."""


class Parameters(NamedTuple):
    """Everything that decides which relations a unit finds, in plain integers."""

    multiplier: int
    """k ≡ n (mod 8), so that kn ≡ 1 (mod 8): then X² - kn is a multiple of 8 for every odd X."""
    size: int
    """Entries of the factor base; entry 0 is -1 and entry 1 is 2."""
    blocks: int
    """Blocks of `BLOCK` positions that are sieved of each polynomial."""
    skip: int
    """Smaller primes are not sieved (small prime variation)."""
    slack: int
    """Bits that a position may lack after sieving: what the skipped primes could bring."""
    large_bound: int
    """Largest large prime."""
    cofactor_bound: int
    """Largest product of two large primes; 0 if there is one at most."""
    factors: int
    """Primes of the leading coefficient a; each a has 2^(factors - 1) polynomials."""

    @property
    def needed(self) -> int:
        """Usable relations that it takes: full ones and independent cycles of partial ones."""
        return self.size + MARGIN

    @property
    def reach(self) -> int:
        """M: polynomials are sieved at -M ≤ x < M."""
        return self.blocks * BLOCK // 2

    def to_dict(self) -> dict[str, int]:
        """Return what a message can carry."""
        return self._asdict()

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return parameters from a message; raise ValueError if it holds anything else."""
        if set(values) != set(cls._fields) or any(type(one) is not int for one in values.values()):
            message = f"parameters are the integers {', '.join(cls._fields)}"
            raise ValueError(message)
        return cls(**values)


class Row(NamedTuple):
    """Tuned values for one size; between two rows they are interpolated."""

    bits: int
    size: int
    interval: int
    """Positions that are sieved of each polynomial."""
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
"""From this size of n two large primes pay."""
COFACTOR_EXPONENT: Final = 1.8
"""Products of two large primes up to `large_bound` to this power are worth splitting."""
IDEAL_FACTOR: Final = 1600
"""Primes of a are about this large where the base allows it: smaller ones are missed in the sieve."""


def choose(n: int) -> Parameters:
    """Return the parameters for n, odd, composite and no perfect power; always the same ones."""
    bits = n.bit_length()
    row = interpolated(_TABLE, bits)
    k = multiplier(n)
    size = int(row.size)
    largest = _nth_prime(2 * size)
    large_bound = int(row.large_multiple * largest)
    blocks = round(row.interval / BLOCK)
    reach = blocks * BLOCK // 2
    a_bits = math.log2(n * k // 2) / 2 - math.log2(reach)
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
    """Return the row for a size, its values between those of its neighbours (sizes geometrically)."""
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


def multiplier(n: int, *, judges: int = SCORED_PRIMES) -> int:
    """Return the squarefree k ≡ n (mod 8) that makes X² - kn smooth most often.

    Knuth and Schroeppel: a prime p contributes 2·log p/(p - 1) on average if it does not divide k,
    and about log p/p if it does, against the ½·log k by which values grow. Other residues of kn
    modulo 8 are left out: they lose two powers of 2 or more, which no other prime makes up for.
    So many odd primes judge.
    """
    primes, planes, candidates = _scores(n % 8, judges)
    squares = _set_bits([gmpy2.jacobi(n, p) == 1 for p in primes])

    def score(candidate: _Candidate) -> int:
        # The primes for which kn is a square: those that hold n and k for one both, or neither.
        both = candidate.prime_to & ~(candidate.squares ^ squares)
        gains = 0
        for plane in planes:
            gains = 2 * gains + (both & plane).bit_count()
        return candidate.constant + gains

    return max(candidates, key=score).multiplier


class _Candidate(NamedTuple):
    """A multiplier k as sets of primes, a bit each; scores are integers, the same on any machine."""

    multiplier: int
    prime_to: int
    """Primes that do not divide k."""
    squares: int
    """Primes modulo which k is a square."""
    constant: int
    """What k scores whatever n is, in units of 2^-`SCORE_BITS`."""


@lru_cache(maxsize=8)
def _scores(residue: int, judges: int) -> tuple[list[int], list[int], list[_Candidate]]:
    """Return the primes, their gains' binary digits (a plane: where a digit is 1), and all k."""
    primes = _odd_primes(judges)
    gains = [_score(2 * math.log(p) / (p - 1)) for p in primes]
    places = reversed(range(max(gains).bit_length()))
    planes = [_set_bits(gain >> place & 1 for gain in gains) for place in places]
    candidates = [
        _Candidate(
            multiplier=k,
            prime_to=_set_bits(k % p for p in primes),
            squares=_set_bits(gmpy2.jacobi(k, p) == 1 for p in primes),
            constant=_score(sum(math.log(p) / p for p in primes if k % p == 0) - math.log(k) / 2),
        )
        for k in range(residue, LARGEST_MULTIPLIER, 8)
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
