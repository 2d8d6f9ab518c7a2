"""Hints that are sent beside the work: events to gateways, control messages to workers.

The store is the truth: a hint that is lost delays somebody, and nothing more.
"""

import hashlib

from common.domain.codec import BigInt, Versioned


def digest_of(number: int) -> str:
    """Return a short, stable name for a number, for routing keys and log lines: 16 hexadecimal digits."""
    return hashlib.sha256(str(int(number)).encode()).hexdigest()[:16]


class Event(Versioned, frozen=True, kw_only=True):
    """Says that a factorization has reached this version."""

    number: BigInt
    version: int
    urgent: bool = False
    """Whether followers should be told at once: the work has ended, or a task was cancelled."""


class Control(Versioned, frozen=True, kw_only=True):
    """Says that some units of this number are no longer outstanding: workers stop those that they run."""

    number: BigInt
