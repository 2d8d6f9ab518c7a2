"""The pace of a number: how long its units should take, and when its sieve is off course. Pure.

Nothing is decided by these figures: they tell people which numbers to look at.
"""

import enum

from common.domain import (
    Curves,
    Factorization,
    Part,
    Prove,
    Sieve,
    Solve,
    Survey,
    Whole,
    Work,
    estimates,
)
from factor_worker.engine.curves import effort
from factor_worker.plan import sieve

MOST_TIMES = 3
"""What takes so many times its forecast is worth a look."""
SLACK_SECONDS = 60.0
"""And so much longer: workers pause between looks, and a unit may be delivered for a second time."""
SURVEY_SECONDS = 1.0
PROOF_SECONDS = 6.0
"""Of a prime of `policy.PROOF_LIMIT_DIGITS` digits, see `factor_worker.engine.primality`."""
SOLVE_SHARE = 0.05
"""A solve unit takes about half of this share of its sieve's time, and reports progress meanwhile."""


class OffCourse(enum.StrEnum):
    """What a sieve that does not go as forecast has done."""

    OVERRUN = "overrun"
    """It has tried three times the leading coefficients of its forecast, and goes on."""
    ANEW = "begun anew"
    """Its relations were lost."""
    GIVEN_UP = "given up"


def patience_seconds(known: Factorization) -> float:
    """Return how long a number whose units have been delivered may go without any progress."""
    own = known.own_part
    works = [entry.unit.work for entry in known.outstanding.values()] if own else []
    longest = max((_seconds(work, own, known.slowness) for work in works if own), default=0.0)
    return MOST_TIMES * longest + SLACK_SECONDS


def _seconds(work: Work, part: Part, slowness: float) -> float:
    """Return about the seconds that a unit takes on a core of its own."""
    largest = estimates.CPU_SECONDS[-1][1]
    whole = slowness * (estimates.cpu_seconds(part.digits) or largest)
    match work:
        case Survey():
            return slowness * SURVEY_SECONDS
        case Prove():
            return slowness * PROOF_SECONDS
        case Curves():
            method = effort.Method(work.method)
            each = effort.seconds_per_curve(part.digits, work.b1, method=method)
            return slowness * work.count * each
        case Whole():
            return whole
        case Sieve():
            return work.count * sieve.seconds_per_index(part.sieve or sieve.begin(part))
        case Solve():
            return SOLVE_SHARE * whole


def off_course(before: Factorization, after: Factorization) -> OffCourse | None:
    """Return what the sieve of a number did between two versions that people should hear of."""
    earlier, later = before.own_part, after.own_part
    if earlier is None or later is None or earlier.sieve is None or later.sieve is None:
        return None
    if "sieve" in later.gave_up and "sieve" not in earlier.gave_up:
        return OffCourse.GIVEN_UP
    if later.sieve.restarts > earlier.sieve.restarts:
        return OffCourse.ANEW
    done = sieve.share_of_forecast(earlier.sieve, earlier.digits)
    now_done = sieve.share_of_forecast(later.sieve, later.digits)
    return OffCourse.OVERRUN if done <= MOST_TIMES < now_done else None
