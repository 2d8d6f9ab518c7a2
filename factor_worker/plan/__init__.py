"""The plan: what an outcome means for a factorization, and which units come next. Pure."""

from factor_worker.plan.plan import Capacity, advance, note, settle

__all__ = ["Capacity", "advance", "note", "settle"]
