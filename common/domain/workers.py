"""The heartbeat of a worker: what it writes into the store about itself every few seconds."""

from collections.abc import Sequence
from typing import Self

import msgspec

from common.domain.codec import BigInt, Versioned, distinct

HEARTBEAT_SECONDS = 2.0
ALIVE_SECONDS = 10.0
"""A worker that has been silent for longer than this counts as gone."""


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """All live workers together, as one of them has seen them."""

    slots: int = 1
    """Units that they compute at a time."""
    numbers: int = 1
    """Numbers that share these slots; those that are only being surveyed do not count."""
    workers: int = 1
    servers: tuple[str, ...] = ()
    """For each shard the worker that looks after it; empty before the first heartbeat.

    All workers read this every few seconds, so it must not grow with their number.
    """

    @classmethod
    def of(cls, workers: Sequence["WorkerStatus"], servers: Sequence[str]) -> Self:
        """Return the cluster that these workers form, with those who look after the shards."""
        return cls(
            slots=max(1, sum(worker.slots for worker in workers)),
            numbers=max(1, len(distinct(number for worker in workers for number in worker.large))),
            workers=max(1, len(workers)),
            servers=tuple(servers),
        )


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
    cluster: Cluster | None = None
    """What it knows of all workers, if it is the one that keeps this for the others."""
