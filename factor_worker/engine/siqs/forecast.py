"""How a sieve will go: what counts of relations are worth, and what a polynomial costs. Cheap."""

import math
from typing import Final

from factor_worker.engine.siqs.polynomials.parameters import Parameters

_STEPS: Final = 32
"""Intervals of large primes, in equal steps of their logarithm."""
_RARITY: Final = 1.14
"""A large prime p occurs in proportion to p to the power of minus this; fitted from 60 to 75 digits."""
_PARTIALS: Final = 9.3
_CYCLES: Final = 0.66
_GROWTH: Final = 2.5
"""With two large primes: when there are `_PARTIALS` partial relations for each one needed, `_CYCLES`
of those needed come from cycles; these grow with that power. Fitted at 80 and 85 digits."""


def estimate_usable(full: int, partial: int, parameters: Parameters) -> int:
    """Return about how many usable relations so many full and partial ones contain."""
    return full + int(
        _double_cycles(partial, parameters)
        if parameters.cofactor_bound
        else _single_cycles(partial, parameters)
    )


def _single_cycles(partial: int, parameters: Parameters) -> float:
    """Return the relations less the different large primes that they are expected to have.

    A large prime p occurs a little less than in proportion to 1/p: it divides one value in p, and the
    smaller it is, the larger is what else has to be smooth.
    """
    low, high = math.log(_largest(parameters)), math.log(parameters.large_bound)
    step = (high - low) / _STEPS
    middles = [low + (i + 0.5) * step for i in range(_STEPS)]
    # Over primes p, by their density 1/log p, of the weight of p.
    total = sum(step * math.exp((1 - _RARITY) * log) / log for log in middles)
    different = 0.0
    for log in middles:
        primes = math.exp(log) * step / log
        expected = partial * math.exp(-_RARITY * log) / total  # occurrences of each of them
        different += primes * -math.expm1(-expected)
    return max(0.0, partial - different)


def _double_cycles(partial: int, parameters: Parameters) -> float:
    """Return the cycles among relations with one or two large primes, by a power law."""
    share = partial / (_PARTIALS * parameters.needed)
    return min(_CYCLES * parameters.needed * math.pow(share, _GROWTH), 0.9 * partial)


def _largest(parameters: Parameters) -> float:
    """Return about the largest prime of the factor base: every second prime is in it."""
    count = 2 * parameters.size
    return count * (math.log(count) + math.log(math.log(count)) - 1)


def cpu_seconds_per_a(parameters: Parameters) -> float:
    """Return about the CPU seconds of one a: its polynomials times what their interval costs."""
    polynomials = 1 << (parameters.factors - 1)
    return polynomials * (parameters.blocks * _BLOCK_SECONDS + parameters.size * _ROOT_SECONDS)


_BLOCK_SECONDS: Final = 20e-6
_ROOT_SECONDS: Final = 0.7e-9
"""Zen 4, one core, by `benchmarks.engine --profile`, candidates included: for each block of 32 KB, and
for each entry of the base."""
