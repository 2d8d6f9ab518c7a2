"""How much is tried on a composite, and how often a unit may fail: the plan's only numbers."""

from common.domain import Fault, Method
from factor_worker.engine.curves import effort

LEVELS = tuple(level for level in effort.LEVELS if level.digits <= 35)  # noqa: PLR2004 t35
"""The levels of curves that are ever run. The last is the effort limit for what is not finished."""

FIRST_RUNS = ((Method.P_MINUS_1, 1_000_000), (Method.P_PLUS_1, 1_000_000))
"""Tried once before any curve: they find the smooth p - 1 and p + 1 that curves do not favour."""

PROOF_LIMIT_DIGITS = 300
"""Larger primes stay `probable`: a proof would take longer than a unit may."""

WHOLE_LIMIT_DIGITS = 59
"""Composites up to this size are sieved and solved in one call: a few seconds, not worth dividing."""

SIEVE_LIMIT_DIGITS = 100
"""Larger composites get curves only, unless a setting says otherwise."""

FAULT_BUDGET = {
    Fault.CRASH: 3,
    Fault.TIMEOUT: 2,
    Fault.MEMORY: 2,
    Fault.WRONG: 2,
    Fault.UNDELIVERED: 3,
}
"""Attempts of one unit that may end in each fault; the last one makes the plan give up on it."""


def levels_for(digits: int, *, sieve_digits: int) -> tuple[effort.Level, ...]:
    """Return the levels for a composite: up to 0.3 of its digits if it can be sieved after that.

    Source: YAFU's pretest ratio for numbers that its quadratic sieve can finish.
    """
    if digits <= WHOLE_LIMIT_DIGITS:
        return ()
    if digits > sieve_digits:
        return LEVELS
    return tuple(level for level in LEVELS if level.digits <= max(20, 0.3 * digits))
