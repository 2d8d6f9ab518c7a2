"""The whole sieve in one process: for small numbers, tests and benchmarks."""

import math
from collections.abc import Callable
from typing import Final

import gmpy2
import numpy as np

from factor_worker.engine.siqs import codec, factor_base, filtering, parameters, solve, unit
from factor_worker.engine.siqs.parameters import Parameters

PATIENCE: Final = 5
"""The next unit is this part of what is missing, so that counting costs little and nothing is wasted."""
LEAST_GROWTH: Final = 0.02
"""Towards the end a unit is this part of what has been sieved."""

Report = Callable[[solve.Progress], None]


def factor(n: int, *, report: Report | None = None) -> tuple[int, ...]:
    """Return nontrivial divisors of n, ascending; their refinement splits n as far as it was found.

    n must be odd, composite and not a perfect power; a number with a small factor takes as long as
    any other of its size. The same n gives the same divisors.

    Raises:
        ValueError: n is not such a number.
    """
    if n % 2 == 0 or n < 9 or gmpy2.is_prime(n) or gmpy2.is_power(n):
        message = "the sieve takes odd composite numbers that are not perfect powers"
        raise ValueError(message)
    chosen = parameters.choose(n)
    shared = _shared(n, chosen)
    return shared or _sieve(n, chosen, report or (lambda _progress: None))


def _shared(n: int, chosen: Parameters) -> tuple[int, ...]:
    """Return what n shares with the multiplier or a prime of the factor base, and the rest.

    Such a prime divides n or k once and for all, not every second value: it has no place in a sieve.
    """
    primes = factor_base.primes(n, chosen)
    small = {prime for prime in primes[1:] if n % prime == 0}
    small.add(math.gcd(n, chosen.multiplier))
    rest = n
    for divisor in small:
        while divisor > 1 and rest % divisor == 0:
            rest //= divisor
    return tuple(sorted({*small, rest} - {1, n}))


def _sieve(n: int, chosen: Parameters, report: Report) -> tuple[int, ...]:
    """Sieve in growing steps until the relations suffice."""
    batches: list[solve.StoredBatch] = []
    large = [np.zeros((0, 2), dtype=np.uint64)]
    done, needed = 0, chosen.needed
    while True:
        usable = filtering.count_usable(np.concatenate(large))
        if usable >= needed:
            solved = solve.solve(n, chosen, batches, report=report)
            if solved.divisors:
                return solved.divisors
            usable, needed = solved.usable, solved.needed
        share = max(LEAST_GROWTH, (1 - usable / needed) / PATIENCE)
        batch = unit.sieve(n, chosen, done, math.ceil(share * done) or 1)
        batches.append(solve.StoredBatch(str(done), done, batch.done, batch.data))
        large.append(codec.large_primes(batch.data))
        done += batch.done
