"""Policy: how much is tried on a composite, and how often a unit may fail."""

from common.domain import Fault, Method
from factor_worker.engine.curves import effort

LEVELS = tuple(level for level in effort.LEVELS if level.digits <= 35)  # noqa: PLR2004 t35
"""All levels of curves that are run. After the last one, a composite that cannot be sieved is left."""

FIRST_RUNS = ((Method.P_MINUS_1, 1_000_000), (Method.P_PLUS_1, 1_000_000))
"""Run once, before any curve: they find primes with a smooth p - 1 or p + 1, which curves do not favour."""

PROOF_LIMIT_DIGITS = 300
"""Larger primes stay `probable`, because a proof would take longer than a unit may."""

WHOLE_LIMIT_DIGITS = 59
"""Composites up to this size are factored in one unit: it takes a few seconds, not worth dividing."""

SIEVE_LIMIT_DIGITS = 100
"""Larger composites get curves only, unless FACTORLINE_SIEVE_DIGITS says otherwise."""

FAULT_BUDGET = {
    Fault.CRASH: 3,
    Fault.TIMEOUT: 2,
    Fault.MEMORY: 2,
    Fault.WRONG: 2,
    Fault.UNDELIVERED: 3,
}
"""How often a unit may end in each fault: at the last one, the plan gives up on it."""


def levels_for(digits: int, *, sieve_digits: int) -> tuple[effort.Level, ...]:
    """Return the levels of curves for a composite; if it can be sieved, up to 0.3 of its digits.

    Source: YAFU's pretest ratio for numbers that its quadratic sieve can finish.
    """
    if digits <= WHOLE_LIMIT_DIGITS:
        return ()
    if digits > sieve_digits:
        return LEVELS
    return tuple(level for level in LEVELS if level.digits <= max(20, 0.3 * digits))
