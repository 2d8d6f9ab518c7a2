"""Batches of P-1, P+1 and ECM on one number: deterministic, and honest about the curves done."""

import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from factor_worker.engine import whole
from factor_worker.engine.curves import gmp_ecm
from factor_worker.engine.curves.effort import Method
from factor_worker.engine.parts import digits, require_above_one

SMALL_DIGITS: Final = 30
"""GMP-ECM finds all factors of such numbers at once, that is none; our tiny sieve takes 1.5 ms."""
FIRST_SIGMA: Final = 6
"""Suyama's parametrization degenerates for smaller ones."""
SIGMA_LIMIT: Final = 1 << 64
"""GMP-ECM takes larger ones too, but 64 bits are curves enough."""
MEMORY_MB: Final = 1024
"""Stage 2 is told to stay below this."""


class Batch(NamedTuple):
    """What a batch came to: divisors (perhaps composite, never 1 or n) and curves really done."""

    divisors: tuple[int, ...]
    curves: int


def run(
    n: int, method: Method, b1: int, sigmas: Sequence[int], *, timeout_s: float = 600.0
) -> Batch:
    """Try one curve after the other on a composite n; stop at the first that finds something.

    `sigmas` are the curves' parameters (for P-1 and P+1: starting points), `FIRST_SIGMA` to
    `SIGMA_LIMIT` - 1; the same ones give the same divisors. `timeout_s` of wall-clock only cuts
    the batch short.
    A number of less than `SMALL_DIGITS` is factored by other means, with no curve done.

    Raises:
        ValueError: n is below 2, or a sigma out of range.
        gmp_ecm.EcmMissing, gmp_ecm.EcmFailed: the program is missing or misbehaves.
    """
    require_above_one(n)
    if not all(FIRST_SIGMA <= sigma < SIGMA_LIMIT for sigma in sigmas):
        message = f"a sigma must be {FIRST_SIGMA} to {SIGMA_LIMIT - 1}"
        raise ValueError(message)
    if digits(n) < SMALL_DIGITS:
        return Batch(tuple(p.value for p in whole.factor_completely(n) if p.value < n), 0)
    return _curves(n, method, b1, sigmas, time.monotonic() + timeout_s)


def _curves(n: int, method: Method, b1: int, sigmas: Sequence[int], deadline: float) -> Batch:
    """Start the program once per curve: with `-c` and `-sigma` it would repeat the same curve."""
    for done, sigma in enumerate(sigmas):
        left = deadline - time.monotonic()
        if left <= 0:
            return Batch((), done)
        try:
            divisors = gmp_ecm.run_once(n, _arguments(method, b1, sigma), timeout_s=left)
        except gmp_ecm.EcmTimedOut:
            return Batch((), done)
        if divisors:
            return Batch(divisors, done + 1)
    return Batch((), len(sigmas))


def _arguments(method: Method, b1: int, sigma: int) -> list[str]:
    limits = ["-maxmem", str(MEMORY_MB), str(b1)]
    match method:
        case Method.ECM:
            # Parametrization 0 (Suyama's), not the default 1: a curve takes 10-15 % longer and
            # finds 18 % (B1=1e6) to 36 % (11e3) more, by GMP-ECM's own expectation (-v).
            return ["-sigma", f"0:{sigma}", *limits]
        case Method.P_MINUS_1:
            return ["-pm1", "-x0", str(sigma), *limits]
        case Method.P_PLUS_1:
            return ["-pp1", "-x0", str(sigma), *limits]
