"""The tiny sieve: numbers of 19 to 43 digits, whole, in one call.

At that size the tables, batches and matrices that let a sieve be shared cost more than the sieving. Here
one compiled function goes from the factor base to enough relations (`tiny_sieve`); leading
coefficients fit into a word, the interval is short, there is one large prime at most, and nothing is
sent anywhere. `polynomials` and `initialisation` say what the polynomials are and how roots move.
"""

import math
from typing import Final

import gmpy2
import numpy as np

from factor_worker.engine.siqs.polynomials import factor_base, parameters
from factor_worker.engine.siqs.polynomials.factor_base import FIRST_ODD, FactorBase
from factor_worker.engine.siqs.polynomials.parameters import Row
from factor_worker.engine.siqs.sieve import interval
from factor_worker.engine.siqs.sieve.tables import HIT_BIT
from factor_worker.engine.siqs.solve import dense
from factor_worker.engine.siqs.solve.sparse import WORD, Rows
from factor_worker.engine.siqs.tiny import kernel
from factor_worker.engine.siqs.tiny.kernel import WORDS, Found, Plan
from factor_worker.engine.siqs.words.arithmetic import ONE, limbs
from factor_worker.engine.siqs.words.arrays import Index

SMALLEST_BITS: Final = 60
"""Below, there are not enough primes to make leading coefficients of."""
LARGEST_BITS: Final = 144
"""Above, a leading coefficient might not fit into a word."""
LENIENCE: Final = 6
"""Bits that powers of small primes and rounding may bring unseen."""
UNIT: Final = interval.WORD * interval.LINE
"""Intervals are multiples of what is scanned at a time."""
LARGEST_FACTOR: Final = 1000
"""Primes of a are about as large at most ..."""
FACTOR_SHARE: Final = 5
"""... and so many times smaller than the largest of the base: few are missed in the sieve."""
JUDGES: Final = 100
"""Odd primes that a multiplier is judged by: more take longer than they bring."""

_TABLE: Final = (
    Row(bits=66, size=40, interval=4096, skip=12, slack=7, large_multiple=20),
    Row(bits=79, size=70, interval=4096, skip=20, slack=10, large_multiple=20),
    Row(bits=99, size=125, interval=8192, skip=40, slack=13, large_multiple=50),
    Row(bits=115, size=225, interval=16384, skip=50, slack=16, large_multiple=40),
    Row(bits=132, size=500, interval=32768, skip=80, slack=18, large_multiple=60),
    Row(bits=144, size=800, interval=32768, skip=90, slack=18, large_multiple=60),
)


def takes(n: int) -> bool:
    """Return whether a number is neither too small nor too large."""
    return SMALLEST_BITS <= n.bit_length() <= LARGEST_BITS


def factor(n: int) -> tuple[int, ...]:
    """Return nontrivial divisors of n, ascending; or none, for one number in some thousand.

    It takes 0.5 ms for 24 digits, 1.3 ms for 30, 10 ms for 40. The same n gives the same divisors.

    Raises:
        ValueError: n is even, a square, or of the wrong size. Of primes and other perfect powers
            no divisors are found.
    """
    if n % 2 == 0 or not takes(n) or gmpy2.is_square(n):
        message = (
            f"the tiny sieve takes odd numbers of {SMALLEST_BITS} to {LARGEST_BITS} bits"
            " that are no squares"
        )
        raise ValueError(message)
    multiplier = parameters.multiplier(n, judges=JUDGES)
    base, plan = prepare(n, multiplier)
    # a prime that divides kn hits every value once or none: it has no place in a sieve
    shared = {math.gcd(int(p), n) for p in base.primes[base.roots == 0]} | {math.gcd(multiplier, n)}
    if divisors := shared - {1, n}:
        return tuple(sorted(divisors | {n // divisor for divisor in divisors}))
    found = kernel.collect(limbs(n * multiplier, WORDS), base, plan)
    rows = kernel.joined(found)
    return _divisors(n, base, found, rows)


def prepare(n: int, multiplier: int) -> tuple[FactorBase, Plan]:
    """Return the factor base of a number, and how to sieve it."""
    number = n * multiplier
    row = parameters.interpolated(_TABLE, n.bit_length())
    reach = row.interval // UNIT * UNIT // 2
    base = factor_base.of(number, row.size)
    largest = int(base.primes[-1])
    large_bound = largest * row.large_multiple
    ideal = math.isqrt(number // 2) // reach
    value_bits = number.bit_length() // 2 + reach.bit_length() - 2
    threshold = value_bits - large_bound.bit_length() - row.slack
    return base, Plan(
        size=row.size,
        reach=reach,
        sieved=max(FIRST_ODD, int(np.searchsorted(base.primes, row.skip))),
        start=HIT_BIT - threshold,
        enough=HIT_BIT + row.slack - LENIENCE,
        factors=max(2, round(math.log(ideal, min(LARGEST_FACTOR, largest // FACTOR_SHARE)))),
        ideal=float(ideal),
        large_bound=large_bound,
    )


def _divisors(n: int, base: FactorBase, found: Found, rows: Rows) -> tuple[int, ...]:
    """Return what the first dependency that splits n splits it into (see `square_root`)."""
    primes = base.primes.tolist()
    words = dense.dependencies(rows, len(primes))
    for bit in range(WORD):
        members = np.flatnonzero(words >> np.uint64(bit) & ONE)
        if not len(members):
            break
        x, y = _roots(primes, found, rows, members)
        divisor = math.gcd(x - y, n)
        if divisor not in {1, n}:
            return tuple(sorted((divisor, n // divisor)))
    return ()


def _roots(primes: list[int], found: Found, rows: Rows, members: Index) -> tuple[int, int]:
    """Return x and y with x² ≡ y² (mod n), from the rows of a dependency."""
    pairs = found.rows[members]
    x = y = gmpy2.mpz(1)
    for low, high in found.x[pairs[pairs >= 0]].tolist():
        x *= low | high << WORD
    # both relations of a pair have the same large prime
    for large in found.large[pairs[pairs[:, 1] >= 0, 0]].tolist():
        y *= large
    for p, exponent in zip(primes, kernel.halves(rows, members, len(primes)).tolist(), strict=True):
        y *= p**exponent
    return int(x), int(y)
