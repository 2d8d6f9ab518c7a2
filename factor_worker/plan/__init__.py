"""The plan: what an outcome means for a factorization, and which units come next. Pure."""

from factor_worker.plan.pace import OffCourse, off_course, patience_seconds
from factor_worker.plan.plan import (
    Capacity,
    advance,
    divide,
    record_progress,
    settle,
    take_in,
)
from factor_worker.plan.shared import has_hard, multiples, worth_comparing

__all__ = [
    "Capacity",
    "OffCourse",
    "advance",
    "divide",
    "has_hard",
    "multiples",
    "off_course",
    "patience_seconds",
    "record_progress",
    "settle",
    "take_in",
    "worth_comparing",
]
