"""The heartbeat of a worker: what it writes into the store about itself every few seconds."""

from common.domain.codec import BigInt, Versioned

HEARTBEAT_SECONDS = 2.0
ALIVE_SECONDS = 10.0
"""A worker that has been silent for longer than this counts as gone."""


class WorkerStatus(Versioned, frozen=True, kw_only=True):
    """One worker process. Times are in seconds since the epoch."""

    worker_id: str
    host: str
    pid: int
    slots: int
    running: tuple[str, ...]
    """Ids of the units that were delivered to it and are not settled."""
    large: tuple[BigInt, ...] = ()
    """The numbers of those of these units that take seconds, which is all but surveys."""
    newest_issue: dict[str, float] = {}  # noqa: RUF012 msgspec copies an empty default
    """For each queue, when the newest unit that it received was issued."""
    units_done: int = 0
    """Units that it has computed since it started."""
    started_at: float
    seen_at: float
