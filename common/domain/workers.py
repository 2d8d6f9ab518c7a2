"""What a worker tells the store about itself every few seconds."""

from common.domain.codec import BigInt, Versioned

HEARTBEAT_SECONDS = 2.0
ALIVE_SECONDS = 10.0
"""A worker that has been silent for longer counts as gone."""


class WorkerStatus(Versioned, frozen=True, kw_only=True):
    """One worker process. Times are in seconds since the epoch."""

    worker_id: str
    host: str
    pid: int
    slots: int
    running: tuple[str, ...]
    """Ids of the units in its hands."""
    large: tuple[BigInt, ...] = ()
    """The numbers that those of them are about which take seconds: surveys do not."""
    newest_issue: dict[str, float] = {}  # noqa: RUF012 msgspec copies an empty default
    """By queue, when the newest unit that it received was issued."""
    units_done: int = 0
    """Units computed since it started."""
    started_at: float
    seen_at: float
