"""A task: one client's request to factor one number, and how it ended."""

import enum
import uuid

import msgspec

from common.domain.codec import BigInt, Versioned


class Status(enum.StrEnum):
    """Where a task stands. The last four are terminal: a task that has one keeps it."""

    QUEUED = "queued"
    """Accepted; no worker has looked at the number yet."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    """Every prime factor is known."""
    PARTIAL = "partial"
    """The work ended with something found or tried, and composites left."""
    FAILED = "failed"
    """The work ended with nothing to show; the reason says why."""
    CANCELLED = "cancelled"

    @property
    def done(self) -> bool:
        """Whether the status is terminal."""
        return self not in (Status.QUEUED, Status.RUNNING)


class Lane(enum.StrEnum):
    """How long a number is likely to take, by its digits; each lane of an owner has its own places."""

    SHORT = "short"
    """A survey answers it, in well under a second."""
    LONG = "long"
    """It may need work units, up to hours of them."""


SHORT_DIGITS = 45
"""A survey answers every number of so many digits completely."""


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How and when something ended: ``at`` in seconds since the epoch."""

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
    """The value as asked for; it may be negative. The factorization is keyed by its absolute value."""
    expression: str
    created_at: float
    round: int = 1
    """The round of the factorization that ends this task (see `Factorization.round`)."""
    joined: bool = False
    """Whether the factorization is known to exist and to be wanted; the sweeper joins the rest."""
    idempotency_key: str | None = None
    ended: Ending | None = None

    @property
    def key(self) -> BigInt:
        """The number whose factorization answers this task."""
        return BigInt(abs(self.number))

    @property
    def lane(self) -> Lane:
        """The lane that the task waits in until its number is begun."""
        return Lane.SHORT if len(str(int(self.key))) <= SHORT_DIGITS else Lane.LONG


def new_task_id() -> str:
    """Return an unguessable id (122 random bits, RFC 9562 version 4)."""
    return str(uuid.uuid4())
