"""The store port: everything that has to last.

It has two sides: SQLite in one file, and MongoDB through motor. Both pass the same contract suite
(tests/contract).
"""

from collections.abc import AsyncIterator, Collection, Sequence
from typing import NamedTuple, Protocol

from common.domain import (
    ALL_SHARDS,
    Account,
    ApiKey,
    Ending,
    Factorization,
    KeyedRequest,
    Lane,
    Outcome,
    Task,
    WorkerStatus,
)


class TaskCursor(NamedTuple):
    """Where a page of tasks ends. Older tasks follow, and of equally old ones those with smaller ids."""

    created_at: float
    task_id: str


class Retention(NamedTuple):
    """How long a store keeps what is not knowledge of numbers. 0 days are for ever."""

    key_hours: float = 24
    """Requests that came with an Idempotency-Key, after they were made."""
    task_days: float = 90
    """Tasks, after they have ended."""
    relation_days: float = 30
    """Relations of a sieve that nobody wants, after it was last worked on."""


DEFAULT_RETENTION = Retention()


class Size(NamedTuple):
    """How large a part of the store is, on disk and with its indexes."""

    part: str
    """A collection, or the whole file."""
    size_bytes: int
    documents: int | None = None
    """None if counting them would mean reading them."""


class Store(Protocol):
    """Small verbs. Each is atomic, and durable once it returns.

    Every method raises `common.errors.StoreUnavailable` if the store does not answer within its time-out.
    A write that was cut off may or may not have happened; every write here can be repeated.
    """

    keep: Retention
    """How long things are kept here."""

    async def open(self) -> None:
        """Connect, and create what is missing (tables, indexes)."""

    async def migrate(self) -> None:
        """Wait until everything is made that this version adds, such as indexes, however long it takes."""

    async def close(self) -> None:
        """Release everything. Calling it twice is harmless."""

    async def ping(self) -> None:
        """Return if the store takes reads and writes."""

    def now(self) -> float:
        """Return the store's time, in seconds since the epoch, as its last answers tell.

        Every time that one program writes and another compares is this one: the programs' machines may
        disagree. It may go back a little when another server of the store takes over.
        """

    # --- tasks ---

    async def insert_tasks(self, tasks: Sequence[Task]) -> list[Task]:
        """Insert the tasks; return, for each, the one with its id that is stored now.

        That is an earlier one if the insert was repeated.
        """

    async def get_task(self, task_id: str, owner: str) -> Task:
        """Return the owner's task. Raises `common.errors.UnknownTask`."""

    async def get_tasks(self, task_ids: Sequence[str]) -> list[Task]:
        """Return those of the tasks that exist, whoever owns them, in any order, in a few large reads."""

    async def list_keyed(self, owner: str, keys: Sequence[str]) -> list[Task]:
        """Return the owner's tasks in which version 0.1 stored one of these keys, in any order."""

    async def list_tasks(self, owner: str, *, before: TaskCursor | None, limit: int) -> list[Task]:
        """Return up to ``limit`` of the owner's tasks, newest first, older than the cursor."""

    async def end_task(self, task_id: str, ending: Ending) -> Task:
        """Write the ending unless the task has one already; return the task as it is now.

        Raises `common.errors.UnknownTask`.
        """

    async def end_tasks(self, number: int, *, up_to_round: int, ending: Ending) -> None:
        """End every live task whose key is this number and whose round is not later."""

    async def erase_tasks(
        self, owner: str, task_ids: Sequence[str] | None = None, *, limit: int
    ) -> int:
        """Delete up to ``limit`` tasks of the owner that have ended, all or some; return how many."""

    async def delete_expired(self) -> None:
        """Delete what is kept no longer (`keep`), unless the store does that by itself."""

    async def measure(self) -> list[Size]:
        """Return how large the store's parts are."""

    async def is_wanted(self, number: int) -> bool:
        """Return whether a live task has this number as its key, or an active factorization waits for it."""

    async def list_wanted(self, numbers: Sequence[int]) -> list[bool]:
        """Return whether each of the numbers is wanted, in order, as `is_wanted` says of one."""

    async def mark_joined(self, task_ids: Sequence[str]) -> None:
        """Record that the tasks' factorizations exist and are wanted."""

    async def list_begun(self, *, after: int | None, limit: int) -> list[int]:
        """Return the numbers that live joined tasks ask for, ordered by key, after the key ``after``.

        Each is returned once, at most ``limit`` of them, and fewer may be returned unless none is left.
        """

    async def count_live(
        self, owner: str, *, lane: Lane | None = None, joined: bool | None = None, limit: int
    ) -> int:
        """Count the owner's live tasks, of one lane or both, joined or not or both; stop at the limit."""

    async def list_waiting_owners(self) -> list[str]:
        """Return the owners who have live tasks that are not marked joined, ordered by name."""

    async def list_queues(
        self, owners: Sequence[str], *, created_before: float
    ) -> list[tuple[str, Lane]]:
        """Return those of the owners, with the lane, who have live tasks that are not marked joined."""

    async def list_unjoined(
        self, owner: str, lane: Lane, *, created_before: float, limit: int
    ) -> list[Task]:
        """Return an owner's live tasks of a lane that are not marked joined, oldest first."""

    async def list_owners(self, numbers: Sequence[int], *, since: float) -> list[set[str]]:
        """Return for each number, in order, who owns tasks of it that are live or ended after ``since``."""

    # --- requests that came with an Idempotency-Key ---

    async def insert_request(self, request: KeyedRequest) -> KeyedRequest:
        """Store a request unless it was made before and is still kept; return the one that is stored now."""

    async def get_request(self, request_id: str) -> KeyedRequest | None:
        """Return a request that is still kept."""

    # --- factorizations ---

    async def get_factorization(self, number: int) -> Factorization | None:
        """Return what is known of a number ≥ 2."""

    async def list_versions(self, numbers: Sequence[int]) -> list[int]:
        """Return the version of each number's factorization, in order; 0 if there is none."""

    async def list_ended(self, numbers: Sequence[int]) -> list[Factorization]:
        """Return the factorizations of those of the numbers whose work has ended, in any order."""

    async def create_factorization(self, factorization: Factorization) -> Factorization:
        """Insert it unless there is one of its number; return the one that is stored now."""

    async def swap_factorization(self, new: Factorization) -> bool:
        """Replace version ``new.version - 1`` by ``new``; return False if that version is not there.

        It also returns False if a unit that ``new`` carries in its outbox was published meanwhile.
        """

    async def clear_outbox(self, number: int, unit_ids: Sequence[str]) -> None:
        """Take published units out of the outbox, whatever the version is; the version stays."""

    async def list_unpublished(
        self,
        *,
        touched_before: float,
        after: int | None,
        limit: int,
        shards: Collection[int] = ALL_SHARDS,
    ) -> list[Factorization]:
        """Return factorizations with units in their outbox, ordered by key, after the key ``after``.

        Only those whose number is in one of the ``shards`` (`common.domain.shard_of`).
        """

    async def list_active(
        self,
        *,
        touched_before: float,
        after: int | None,
        limit: int,
        shards: Collection[int] = ALL_SHARDS,
    ) -> list[Factorization]:
        """Return active factorizations, ordered by key, after the key ``after``, as `list_unpublished`."""

    async def list_waiting(
        self, number: int, *, after: int | None, limit: int
    ) -> list[Factorization]:
        """Return active factorizations that wait for a number, ordered by key, after the key ``after``."""

    # --- outcomes: inserted by one worker, settled along with others by any ---

    async def insert_outcome(self, number: int, outcome: Outcome) -> None:
        """Store the outcome of a unit until it is settled; a second one of the same unit changes nothing."""

    async def list_outcomes(
        self, number: int, unit_ids: Collection[str] | None = None
    ) -> list[Outcome]:
        """Return the outcomes of a number's units that are stored, all or those of some, in any order."""

    async def delete_outcomes(self, number: int, unit_ids: Sequence[str]) -> None:
        """Delete outcomes that have been settled."""

    async def list_stored(self) -> list[int]:
        """Return the numbers of which outcomes or relation batches are stored, in any order."""

    # --- relation batches: insert-only, keyed by (number, unit id) ---

    async def insert_batch(self, number: int, unit_id: str, batch: bytes) -> None:
        """Store the batch of a sieve unit; a second batch of the same unit changes nothing."""

    def iterate_batches(self, number: int) -> AsyncIterator[tuple[str, bytes]]:
        """Yield (unit id, batch) for every batch of a number, ordered by unit id."""

    async def delete_batches(self, number: int) -> None:
        """Delete the batches of a number."""

    # --- workers ---

    async def heartbeat(self, status: WorkerStatus) -> None:
        """Store a worker's heartbeat in place of its last one."""

    async def remove_worker(self, worker_id: str) -> None:
        """Delete a worker that has stopped."""

    async def get_worker(self, worker_id: str) -> WorkerStatus | None:
        """Return a worker's last heartbeat, however old it is."""

    async def list_workers(self, *, seen_after: float) -> list[WorkerStatus]:
        """Return the workers whose heartbeat is newer than that, ordered by id."""

    # --- API keys and what their owners have used ---

    async def insert_key(self, key: ApiKey) -> None:
        """Store a new key."""

    async def find_keys(self, digests: Sequence[str]) -> list[ApiKey]:
        """Return the keys with these digests, including revoked ones, in any order."""

    async def list_keys(self) -> list[ApiKey]:
        """Return all keys, oldest first."""

    async def revoke_key(self, key_id: str, at: float, *, by: str = "") -> ApiKey:
        """Revoke a key for good and return it; the time of the first revocation stays, and who it was.

        Raises `common.errors.UnknownKey`.
        """

    async def mark_key_used(self, digest: str, at: float) -> bool:
        """Note when a key was last used; return whether that was the first time."""

    async def get_account(self, owner: str) -> Account:
        """Return what an owner has used: a new account of version 0 if nothing is stored."""

    async def swap_account(self, new: Account) -> bool:
        """Replace version ``new.version - 1`` by ``new``; return False if that version is not there."""
