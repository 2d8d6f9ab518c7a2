"""The tiny sieve: numbers of 60 to 144 bits (19 to 43 digits), whole, in one call.

At that size the tables, batches and sparse matrices that let several workers share a sieve cost more than
the sieving. Here one compiled function goes from the factor base to enough relations (`kernel`), and a
dense matrix with one or two dependencies ends it.
"""

import math
from typing import Final

import gmpy2
import numpy as np

from factor_worker.engine.siqs.polynomials import factor_base, parameters
from factor_worker.engine.siqs.polynomials.factor_base import FIRST_ODD, FactorBase
from factor_worker.engine.siqs.polynomials.parameters import Row
from factor_worker.engine.siqs.sieve import interval
from factor_worker.engine.siqs.sieve.tables import CANDIDATE_BIT
from factor_worker.engine.siqs.solve import dense
from factor_worker.engine.siqs.solve.sparse import WORD_BITS, Rows
from factor_worker.engine.siqs.tiny import kernel
from factor_worker.engine.siqs.tiny.kernel import KN_WORDS, RelationBuffer, TinyParameters
from factor_worker.engine.siqs.words.arithmetic import ONE, to_limbs
from factor_worker.engine.siqs.words.arrays import Index

SMALLEST_BITS: Final = 60
"""Smaller numbers have too few primes to make a-coefficients of."""
LARGEST_BITS: Final = 144
"""Larger numbers might have a-coefficients that do not fit into a word."""
TOLERANCE_BITS: Final = 6
"""Bits that prime powers and rounding may contribute without being seen in a sieve byte."""
SCAN_POSITIONS: Final = interval.WORD_BYTES * interval.LINE_WORDS
"""Sieve intervals are multiples of what is scanned at a time, a cache line."""
LARGEST_A_PRIME: Final = 1000
"""Primes of a are at most about this large ..."""
A_PRIME_SHARE: Final = 5
"""... and about this many times smaller than the largest prime of the base: the sieve misses few hits."""
SCORED_PRIMES: Final = 100
"""How many odd primes score a multiplier: more would take longer than they gain."""

_TABLE: Final = (
    Row(bits=66, size=40, interval=4096, skip=12, slack=7, large_multiple=20),
    Row(bits=79, size=70, interval=4096, skip=20, slack=10, large_multiple=20),
    Row(bits=99, size=125, interval=8192, skip=40, slack=13, large_multiple=50),
    Row(bits=115, size=225, interval=16384, skip=50, slack=16, large_multiple=40),
    Row(bits=132, size=500, interval=32768, skip=80, slack=18, large_multiple=60),
    Row(bits=144, size=800, interval=32768, skip=90, slack=18, large_multiple=60),
)


def takes(n: int) -> bool:
    """Return whether a number has the right size, `SMALLEST_BITS` to `LARGEST_BITS`."""
    return SMALLEST_BITS <= n.bit_length() <= LARGEST_BITS


def factor(n: int) -> tuple[int, ...]:
    """Return two complementary divisors of n, or more if a prime of the base divides n, ascending.

    The result is empty for one composite number in some thousands, and for primes; of a perfect power no
    divisor may be found. The same n gives the same divisors.

    Raises:
        ValueError: n is even, a square, or not of a size that `takes` accepts.
    """
    if n % 2 == 0 or not takes(n) or gmpy2.is_square(n):
        message = (
            f"the tiny sieve takes odd numbers of {SMALLEST_BITS} to {LARGEST_BITS} bits"
            " that are no squares"
        )
        raise ValueError(message)
    multiplier = parameters.multiplier(n, scored_primes=SCORED_PRIMES)
    base, tiny_parameters = prepare(n, multiplier)
    # A prime that divides n or k cannot be sieved with, and one that divides n is a divisor already.
    shared = {math.gcd(int(p), n) for p in base.primes[base.roots == 0]} | {math.gcd(multiplier, n)}
    if divisors := shared - {1, n}:
        return tuple(sorted(divisors | {n // divisor for divisor in divisors}))
    buffer = kernel.collect_relations(to_limbs(n * multiplier, KN_WORDS), base, tiny_parameters)
    rows = kernel.row_factors(buffer)
    return _divisors(n, base, buffer, rows)


def prepare(n: int, multiplier: int) -> tuple[FactorBase, TinyParameters]:
    """Return the factor base of n with this multiplier, and how to sieve it."""
    kn = n * multiplier
    row = parameters.interpolated(_TABLE, n.bit_length())
    half_interval = row.interval // SCAN_POSITIONS * SCAN_POSITIONS // 2
    base = factor_base.build(kn, row.size)
    largest = int(base.primes[-1])
    large_bound = largest * row.large_multiple
    ideal = math.isqrt(kn // 2) // half_interval
    value_bits = kn.bit_length() // 2 + half_interval.bit_length() - 2
    threshold = value_bits - large_bound.bit_length() - row.slack
    return base, TinyParameters(
        size=row.size,
        half_interval=half_interval,
        first_sieved=max(FIRST_ODD, int(np.searchsorted(base.primes, row.skip))),
        initial_byte=CANDIDATE_BIT - threshold,
        enough=CANDIDATE_BIT + row.slack - TOLERANCE_BITS,
        factors=max(2, round(math.log(ideal, min(LARGEST_A_PRIME, largest // A_PRIME_SHARE)))),
        ideal_a=float(ideal),
        large_bound=large_bound,
    )


def _divisors(n: int, base: FactorBase, buffer: RelationBuffer, rows: Rows) -> tuple[int, ...]:
    """Return the two divisors that the first nontrivial dependency gives (see `square_root`), or none."""
    primes = base.primes.tolist()
    words = dense.dependencies(rows, len(primes))
    for bit in range(WORD_BITS):
        members = np.flatnonzero(words >> np.uint64(bit) & ONE)
        if not len(members):
            break
        x, y = _roots(primes, buffer, rows, members)
        divisor = math.gcd(x - y, n)
        if divisor not in {1, n}:
            return tuple(sorted((divisor, n // divisor)))
    return ()


def _roots(
    primes: list[int], buffer: RelationBuffer, rows: Rows, members: Index
) -> tuple[int, int]:
    """Return x and y with x² ≡ y² (mod n) from the rows of a dependency."""
    pairs = buffer.rows[members]
    x = y = gmpy2.mpz(1)
    for low, high in buffer.x[pairs[pairs >= 0]].tolist():
        x *= low | high << WORD_BITS
    # Both relations of a pair have the same large prime, which is a square in their product.
    for large in buffer.large_primes[pairs[pairs[:, 1] >= 0, 0]].tolist():
        y *= large
    for p, exponent in zip(
        primes, kernel.half_exponents(rows, members, len(primes)).tolist(), strict=True
    ):
        y *= p**exponent
    return int(x), int(y)
