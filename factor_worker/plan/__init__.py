"""The plan: what an outcome means for a factorization, and which units come next. Pure."""

from factor_worker.plan.pace import OffCourse, off_course, patience_seconds
from factor_worker.plan.plan import Capacity, advance, record_progress, settle, take_in

__all__ = [
    "Capacity",
    "OffCourse",
    "advance",
    "off_course",
    "patience_seconds",
    "record_progress",
    "settle",
    "take_in",
]
