"""How often a program collects cyclic garbage.

By default Python looks at the newest objects whenever 700 more were created than freed, and at all of them
after about a hundred such times. In a gateway or worker with hundreds of requests in progress that happens
several times a second and finds almost nothing; it was a tenth of the cost of a short number.
"""

import gc
from typing import Final

THRESHOLDS: Final = (50_000, 20, 100)
"""The thresholds of `gc.set_threshold`: a few megabytes of garbage may accumulate."""


def collect_rarely() -> None:
    """Exempt all objects that exist now from collection, and collect the others rarely."""
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
