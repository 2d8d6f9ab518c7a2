"""The whole sieve in one process: for numbers that are not worth sharing, tests and benchmarks."""

import math
from collections.abc import Iterator
from typing import Final

import gmpy2

from factor_worker.engine.siqs.polynomials import factor_base, parameters, polynomials
from factor_worker.engine.siqs.polynomials.parameters import Parameters
from factor_worker.engine.siqs.sieve import unit
from factor_worker.engine.siqs.solve import solve
from factor_worker.engine.siqs.solve.harvest import Harvest

SMALLEST_N: Final = 10**15
"""Smaller numbers have too few primes to make a-coefficients of."""
STEP_DIVISOR: Final = 2.5
"""While a part f of the rows is missing, the next unit is f/`STEP_DIVISOR` of what has been sieved: partial
relations become worth more and more, and a step must not overshoot."""
SMALLEST_STEP: Final = 0.01
"""Towards the end, a unit is this part of what has been sieved: counting rows takes time too."""


def factor(n: int, *, report: solve.Report | None = None) -> tuple[int, ...]:
    """Return nontrivial divisors of n, ascending; `coprime.refine` makes a decomposition of them.

    n is odd, composite, no perfect power and at least `SMALLEST_N`. A number with a small factor takes as
    long as any other of its size. The same n gives the same divisors. `report` is called as `solve.solve`
    calls it.

    Raises:
        ValueError: n is not such a number.
    """
    if n < SMALLEST_N or n % 2 == 0 or gmpy2.is_prime(n) or gmpy2.is_power(n):
        message = (
            f"the sieve takes odd composite numbers from {SMALLEST_N} that are no perfect powers"
        )
        raise ValueError(message)
    chosen = parameters.choose(n)
    return _shared_factors(n, chosen) or _sieved(n, chosen, report or (lambda _progress: None))


def batches(harvest: Harvest, chosen: Parameters) -> Iterator[solve.StoredBatch]:
    """Sieve all a's in steps that suit the harvest's state; add each batch to the harvest, and yield it."""
    done, total = 0, polynomials.a_count(harvest.n, chosen)
    while done < total:
        usable, needed, _ = harvest.state()
        share = max(SMALLEST_STEP, (1 - usable / needed) / STEP_DIVISOR)
        count = min(math.ceil(share * done) or 1, total - done)
        batch = unit.sieve(harvest.n, chosen, done, count)
        harvest.add(done, batch.done, batch.data)
        yield solve.StoredBatch(str(done), done, batch.done, batch.data)
        done += batch.done


def _sieved(n: int, chosen: Parameters, report: solve.Report) -> tuple[int, ...]:
    """Sieve until the relations suffice, and further if every dependency is trivial."""
    harvest = Harvest(n, chosen)
    least = 0
    for _ in batches(harvest, chosen):
        usable, needed, _ = harvest.state()
        if usable >= max(needed, least):
            solved = solve.split(harvest, report)
            if solved.divisors:
                return solved.divisors
            least = solved.needed
    return ()


def _shared_factors(n: int, chosen: Parameters) -> tuple[int, ...]:
    """Return the factors that n shares with the multiplier or the factor base, and what remains of n.

    Such a prime cannot be sieved with: it divides n itself.
    """
    primes = factor_base.primes(n, chosen)
    small = {prime for prime in primes[1:] if n % prime == 0}
    small.add(math.gcd(n, chosen.multiplier))
    rest = n
    for divisor in small:
        while divisor > 1 and rest % divisor == 0:
            rest //= divisor
    return tuple(sorted({*small, rest} - {1, n}))
