"""Batches of P-1, P+1 and ECM on one number: deterministic, with an exact count of the curves done."""

import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from factor_worker.engine import whole
from factor_worker.engine.curves import gmp_ecm
from factor_worker.engine.curves.effort import Method
from factor_worker.engine.parts import digits, require_above_one

SMALL_DIGITS: Final = 30
"""Numbers of fewer digits are factored by other means, in milliseconds: GMP-ECM would find all their prime
factors at once, hence only the number itself."""
FIRST_SIGMA: Final = 6
"""The smallest sigma: Suyama's parametrization degenerates for smaller ones."""
SIGMA_LIMIT: Final = 1 << 64
"""A sigma is below this. GMP-ECM takes larger ones too, but 64 bits give curves enough."""
MEMORY_MB: Final = 1024
"""The memory limit that stage 2 is given (`-maxmem`)."""


class CurveBatch(NamedTuple):
    """The result of a batch."""

    divisors: tuple[int, ...]
    """Nontrivial divisors, ascending, perhaps composite."""
    curves: int
    """How many curves (or runs of P-1 or P+1) were completed."""


def run_batch(
    n: int, method: Method, b1: int, sigmas: Sequence[int], *, timeout_s: float = 600.0
) -> CurveBatch:
    """Run one curve after the other on n, and stop at the first that finds a divisor.

    `b1` is the bound of stage 1; GMP-ECM chooses that of stage 2. Each of `sigmas` is the parameter of a
    curve (for P-1 and P+1 a starting point), from `FIRST_SIGMA` to `SIGMA_LIMIT` - 1; the same sigmas give
    the same divisors. After `timeout_s` seconds of wall-clock time the batch ends with the curves completed
    so far. A number of fewer than `SMALL_DIGITS` digits is factored by other means and without any curve.

    Raises:
        ValueError: n is below 2, or a sigma is out of range.
        gmp_ecm.EcmMissing, gmp_ecm.EcmFailed: GMP-ECM is missing, or failed.
    """
    require_above_one(n)
    if not all(FIRST_SIGMA <= sigma < SIGMA_LIMIT for sigma in sigmas):
        message = f"a sigma must be {FIRST_SIGMA} to {SIGMA_LIMIT - 1}"
        raise ValueError(message)
    if digits(n) < SMALL_DIGITS:
        return CurveBatch(tuple(p.value for p in whole.factor_completely(n) if p.value < n), 0)
    return _curves(n, method, b1, sigmas, time.monotonic() + timeout_s)


def _curves(n: int, method: Method, b1: int, sigmas: Sequence[int], deadline: float) -> CurveBatch:
    """Start GMP-ECM once for each curve: with `-c` and `-sigma` it would repeat the same curve."""
    for done, sigma in enumerate(sigmas):
        left = deadline - time.monotonic()
        if left <= 0:
            return CurveBatch((), done)
        try:
            divisors = gmp_ecm.run_once(n, _arguments(method, b1, sigma), timeout_s=left)
        except gmp_ecm.EcmTimedOut:
            return CurveBatch((), done)
        if divisors:
            return CurveBatch(divisors, done + 1)
    return CurveBatch((), len(sigmas))


def _arguments(method: Method, b1: int, sigma: int) -> list[str]:
    limits = ["-maxmem", str(MEMORY_MB), str(b1)]
    match method:
        case Method.ECM:
            # Parametrization 0 (Suyama's) instead of the default 1: a curve takes 10-15 % longer and
            # finds 18 % (B1=1e6) to 36 % (11e3) more, by GMP-ECM's own expectation (-v).
            return ["-sigma", f"0:{sigma}", *limits]
        case Method.P_MINUS_1:
            return ["-pm1", "-x0", str(sigma), *limits]
        case Method.P_PLUS_1:
            return ["-pp1", "-x0", str(sigma), *limits]
