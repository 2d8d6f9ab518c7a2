"""How long a number takes at most, estimated from its size alone."""

import itertools
import math
from typing import Final

CPU_SECONDS: Final = (
    (20, 0.001),
    (30, 0.007),
    (40, 0.03),
    (50, 0.16),
    (60, 1.0),
    (70, 6.1),
    (80, 50.0),
    (90, 350.0),
    (100, 2_500.0),
)
"""(decimal digits, CPU seconds) for numbers with two prime factors of equal size, the hardest kind.

Up to 80 digits they are measured by ``python -m benchmarks.engine``; beyond that they are forecast from the
rate of relations. Between two sizes the time grows exponentially.
"""


def cpu_seconds(digits: int) -> float | None:
    """Return the CPU seconds that a number of this size takes at most, or None if it cannot be sieved."""
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
