"""How often a program looks for garbage in cycles.

Python does so whenever 700 more objects were made than let go of, and goes through all there are after
some hundred such times. In a gateway or worker with some hundred requests in hand that comes several
times a second and finds next to nothing: it took a tenth of all that a short number costs.
"""

import gc
from typing import Final

THRESHOLDS: Final = (50_000, 20, 100)
"""Objects made before the newest are looked at: some megabytes may lie about until then."""


def look_seldom() -> None:
    """Leave what is there by now alone for good, and look at the rest seldom."""
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
