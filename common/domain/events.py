"""Hints that travel beside the work: events to gateways, control to workers. The store is the truth."""

import hashlib

from common.domain.codec import BigInt, Versioned


def digest_of(number: int) -> str:
    """Return a short stable name for a number, fit for routing keys and log lines (16 hex digits)."""
    return hashlib.sha256(str(int(number)).encode()).hexdigest()[:16]


class Event(Versioned, frozen=True, kw_only=True):
    """A factorization is now at this version."""

    number: BigInt
    version: int
    urgent: bool = False
    """Whether followers should hear of it at once: the work has ended, or a task was cancelled."""


class Control(Versioned, frozen=True, kw_only=True):
    """Some outstanding units of this number are no longer wanted: look, and stop those you run."""

    number: BigInt
