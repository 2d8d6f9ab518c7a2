"""Compiles every kernel, or loads it from numba's cache: ``python -m factor_worker.engine.siqs.warm``.

Done when an environment or an image is built, and again by every child process before its first unit.
"""

from factor_worker.engine.siqs import complete, linear_algebra

SMALLEST = 1000000016000000063
"""Sieved and solved once."""


def warm() -> None:
    """Return when nothing is left to compile."""
    linear_algebra.warm()
    complete.factor(SMALLEST)


if __name__ == "__main__":
    warm()
