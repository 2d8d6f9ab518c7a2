"""Forecasts for a sieve under way: how many usable relations it has, and what an a will cost.

Both are closed formulas fitted to real sieves, so that the plan can ask without looking at relations.
"""

import math
from typing import Final

from factor_worker.engine.siqs.polynomials.parameters import Parameters

_STEPS: Final = 32
"""Intervals of large primes that are summed over, equal in the logarithm."""
_RARITY: Final = 1.14
"""A large prime p occurs with frequency proportional to p^-`_RARITY`; fitted at 60 to 75 digits."""
_PARTIALS: Final = 9.3
_CYCLES: Final = 0.66
_GROWTH: Final = 2.5
"""With two large primes, `_PARTIALS` partial relations per needed row give `_CYCLES` cycles per needed row,
and cycles grow with the number of partial relations to the power of `_GROWTH`. Fitted at 80 and 85 digits."""


def estimate_usable(full: int, partial: int, parameters: Parameters) -> int:
    """Return about how many independent rows this many full and partial relations give."""
    return full + int(
        _double_cycles(partial, parameters)
        if parameters.cofactor_bound
        else _single_cycles(partial, parameters)
    )


def _single_cycles(partial: int, parameters: Parameters) -> float:
    """Return the number of relations minus that of the different large primes they are expected to have.

    A large prime p divides one value in p, but occurs a little less often than in proportion to 1/p: the
    smaller it is, the larger is the rest of the value, which has to be smooth.
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
    """Return the number of cycles among relations with one or two large primes, by a power law."""
    share = partial / (_PARTIALS * parameters.needed)
    return min(_CYCLES * parameters.needed * math.pow(share, _GROWTH), 0.9 * partial)


def _largest(parameters: Parameters) -> float:
    """Return about the largest prime of the factor base, which has every second prime."""
    count = 2 * parameters.size
    return count * (math.log(count) + math.log(math.log(count)) - 1)


def cpu_seconds_per_a(parameters: Parameters) -> float:
    """Return about how many CPU seconds one a takes: its polynomials times the cost of each."""
    polynomials = 1 << (parameters.factors - 1)
    return polynomials * (parameters.blocks * _BLOCK_SECONDS + parameters.size * _ROOT_SECONDS)


_BLOCK_SECONDS: Final = 20e-6
_ROOT_SECONDS: Final = 0.7e-9
"""Seconds of a polynomial for each block of the interval, and for each entry of the base, candidates
included: measured on one Zen 4 core with `benchmarks.engine --profile`."""
