"""A task: one client's request to factor one number, and how it ended."""

import enum
import uuid

import msgspec

from common.domain.codec import BigInt, Versioned


class Status(enum.StrEnum):
    """The state of a task. The last four are terminal: a task keeps them."""

    QUEUED = "queued"
    """Accepted; no worker has looked at the number yet."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    """Every prime factor is known."""
    PARTIAL = "partial"
    """The work ended with composites left; factors may have been found."""
    FAILED = "failed"
    """The work ended with nothing found; the reason says why."""
    CANCELLED = "cancelled"

    @property
    def done(self) -> bool:
        """Whether the status is terminal."""
        return self not in (Status.QUEUED, Status.RUNNING)


class Lane(enum.StrEnum):
    """How long a number is likely to take, by its size. An owner has places of its own in each lane."""

    SHORT = "short"
    """A survey answers it in well under a second."""
    LONG = "long"
    """It may need many units, up to hours of computation."""


SHORT_DIGITS = 45
"""A survey factors almost any number of up to this many digits; hard ones of 44 and 45 need one unit more."""


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How and when something ended. ``at`` is in seconds since the epoch."""

    status: Status
    at: float
    reason: str | None = None


class Task(Versioned, frozen=True, kw_only=True):
    """One client's request.

    ``ended`` is written once, by a compare-and-swap on the task alone, so that a cancellation and a
    completion that race have exactly one winner (docs/adr/0004).
    """

    task_id: str
    owner: str
    number: BigInt
    """The number as submitted, which may be negative. The factorization is keyed by its absolute value."""
    expression: str
    created_at: float
    round: int = 1
    """The round of the factorization that will end this task (see `Factorization.round`)."""
    joined: bool = False
    """Whether its factorization is known to exist and to be wanted; admission joins the other tasks."""
    idempotency_key: str | None = None
    """Version 0.1 kept a request's key here, batches with " #" and the position added; see `KeyedRequest`."""
    ended: Ending | None = None
    rests_until: float | None = None
    """Only in what is shown: when a task may be begun whose owner has used up the CPU seconds of the day."""

    @property
    def key(self) -> BigInt:
        """The number whose factorization answers this task."""
        return BigInt(abs(self.number))

    @property
    def lane(self) -> Lane:
        """The lane in which the task waits for a place."""
        return Lane.SHORT if len(str(int(self.key))) <= SHORT_DIGITS else Lane.LONG


def new_task_id() -> str:
    """Return an unguessable id (122 random bits, RFC 9562 version 4)."""
    return str(uuid.uuid4())
