"""How much work a number is, told from its size alone."""

import itertools
import math
from typing import Final

CPU_SECONDS: Final = (
    (20, 0.001),
    (30, 0.01),
    (40, 0.06),
    (50, 0.4),
    (60, 3.0),
    (70, 18.0),
    (80, 150.0),
    (90, 900.0),
    (100, 6_000.0),
)
"""(decimal digits, CPU seconds) of numbers with two prime factors of equal size: the hardest there are.

Measured by ``python -m benchmarks.engine``; between two sizes time grows exponentially.
"""


def cpu_seconds(digits: int) -> float | None:
    """Return the CPU seconds that a number of this size takes at most; None beyond the sieve's reach."""
    (smallest, least), (largest, _) = CPU_SECONDS[0], CPU_SECONDS[-1]
    if digits <= smallest:
        return least
    if digits > largest:
        return None
    for (low, fast), (high, slow) in itertools.pairwise(CPU_SECONDS):
        if digits <= high:
            share = (digits - low) / (high - low)
            return float(f"{fast * math.pow(slow / fast, share):.2g}")
    return None
