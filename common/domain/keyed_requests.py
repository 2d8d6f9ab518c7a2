"""Requests that came with an Idempotency-Key: what they asked for, and which tasks they made.

A record is stored before any task is. Whoever repeats the request finds it, and with it the ids of the tasks;
whoever sends another request under the same key is told so before anything has been inserted.
"""

import hashlib
from collections.abc import Sequence

import msgspec

from common.domain.codec import Versioned


class KeyedRequest(Versioned, frozen=True, kw_only=True):
    """One request. It is kept for a day or so (FACTORLINE_KEEP_KEYS_HOURS)."""

    request_id: str
    """See `request_id_of`."""
    digest: str
    """See `digest_of_numbers`."""
    task_ids: tuple[str, ...]
    """One for each number, in order."""
    made_at: float
    """In seconds since the epoch, by the store's clock."""


def request_id_of(owner: str, key: str, *, batch: bool) -> str:
    """Return what identifies a request: batches and single numbers have name spaces of their own."""
    return _digest([owner, "batch" if batch else "task", key])


def digest_of_numbers(numbers: Sequence[int], positions: Sequence[int]) -> str:
    """Return what two requests share only if they ask for the same numbers at the same positions."""
    return _digest(
        [[position, str(int(n))] for position, n in zip(positions, numbers, strict=True)]
    )


def _digest(value: object) -> str:
    return hashlib.sha256(msgspec.json.encode(value)).hexdigest()
