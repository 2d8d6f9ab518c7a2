"""The store port: what is known, durably. Two sides: SQLite in one file, MongoDB through motor."""

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

from common.domain import Account, ApiKey, Ending, Factorization, Lane, Task, WorkerStatus


class TaskCursor(NamedTuple):
    """Where a page of tasks ends: strictly older tasks follow (ties broken by id, descending)."""

    created_at: float
    task_id: str


class Store(Protocol):
    """Small verbs; each is atomic and durable when it returns.

    Every method raises `common.errors.StoreUnavailable` when the store does not answer within its
    time-out. A write that was cut off may or may not have happened; all writes here can be repeated.
    """

    async def open(self) -> None:
        """Connect, and create what is missing (tables, indexes)."""

    async def close(self) -> None:
        """Let go of every resource; calling it twice is harmless."""

    async def ping(self) -> None:
        """Return if the store can be read and written."""

    # --- tasks ---

    async def insert_tasks(self, tasks: Sequence[Task]) -> list[Task]:
        """Insert the tasks; return, for each, the one that is stored now.

        It is an earlier one where the same owner used the same idempotency key before, or where a
        task of that id is there already (a retried insert).
        """

    async def get_task(self, task_id: str, owner: str) -> Task:
        """Return the owner's task. Raises `common.errors.UnknownTask`."""

    async def list_keyed(self, owner: str, keys: Sequence[str]) -> list[Task]:
        """Return the owner's tasks that have one of these idempotency keys, in any order."""

    async def list_tasks(self, owner: str, *, before: TaskCursor | None, limit: int) -> list[Task]:
        """Return up to ``limit`` of the owner's tasks, newest first, older than the cursor."""

    async def end_task(self, task_id: str, ending: Ending) -> Task:
        """Write the ending unless the task has one; return the task as it is now.

        Raises `common.errors.UnknownTask`.
        """

    async def end_tasks(self, number: int, *, up_to_round: int, ending: Ending) -> None:
        """End every live task whose key is this number and whose round is not later."""

    async def any_live(self, number: int) -> bool:
        """Return whether a task without an ending has this number as its key."""

    async def mark_joined(self, task_ids: Sequence[str]) -> None:
        """Record that the tasks' factorizations exist and are wanted."""

    async def count_live(
        self, owner: str, *, lane: Lane | None = None, joined: bool | None = None, limit: int
    ) -> int:
        """Count the owner's live tasks, of one lane or all, joined or not or both; stop at a limit."""

    async def list_queues(self, *, created_before: float) -> list[tuple[str, Lane]]:
        """Return the owners and lanes that have live tasks that were never marked joined."""

    async def list_unjoined(
        self, owner: str, lane: Lane, *, created_before: float, limit: int
    ) -> list[Task]:
        """Return live tasks of a queue that were never marked joined, oldest first."""

    async def list_owners(self, numbers: Sequence[int], *, since: float) -> dict[int, set[str]]:
        """Return, by number, the owners of its tasks that are live or ended after ``since``."""

    # --- factorizations ---

    async def get_factorization(self, number: int) -> Factorization | None:
        """Return what is known of a number ≥ 2."""

    async def create_factorization(self, factorization: Factorization) -> Factorization:
        """Insert it unless its number is there; return what is stored now."""

    async def swap_factorization(self, new: Factorization) -> bool:
        """Replace version ``new.version - 1`` by ``new``; return False if that is not what is there.

        Nor is it if a unit that ``new`` carries in its outbox has been published since it was read.
        """

    async def clear_outbox(self, number: int, unit_ids: Sequence[str]) -> None:
        """Take published units out of the outbox, whatever the version; the version stays."""

    async def list_unpublished(
        self, *, touched_before: float, after: int | None, limit: int
    ) -> list[Factorization]:
        """Return factorizations with units in their outbox, by key, after ``after``."""

    async def list_active(
        self, *, touched_before: float, after: int | None, limit: int
    ) -> list[Factorization]:
        """Return active factorizations, by key, after ``after``."""

    # --- relation batches: insert-only, keyed by (number, unit id) ---

    async def insert_batch(self, number: int, unit_id: str, batch: bytes) -> None:
        """Keep the batch of a sieve unit; a second batch of the same unit changes nothing."""

    def iterate_batches(self, number: int) -> AsyncIterator[tuple[str, bytes]]:
        """Yield (unit id, batch) for every batch of a number, by unit id."""

    async def delete_batches(self, number: int) -> None:
        """Forget the batches of a number."""

    # --- workers ---

    async def heartbeat(self, status: WorkerStatus) -> None:
        """Keep the worker's latest word about itself."""

    async def remove_worker(self, worker_id: str) -> None:
        """Forget a worker that said goodbye."""

    async def list_workers(self, *, seen_after: float) -> list[WorkerStatus]:
        """Return the workers heard of since then, by id."""

    # --- API keys and what their owners have used ---

    async def insert_key(self, key: ApiKey) -> None:
        """Keep a new key."""

    async def find_keys(self, digests: Sequence[str]) -> list[ApiKey]:
        """Return the keys that have these digests, revoked ones too, in any order."""

    async def list_keys(self) -> list[ApiKey]:
        """Return all keys, oldest first."""

    async def revoke_key(self, key_id: str, at: float) -> ApiKey:
        """Revoke a key for good and return it; the first revocation stays.

        Raises `common.errors.UnknownKey`.
        """

    async def get_account(self, owner: str) -> Account:
        """Return what an owner has used; a fresh account of version 0 if nothing is known."""

    async def swap_account(self, new: Account) -> bool:
        """Replace version ``new.version - 1`` by ``new``; return False if that is not the version."""
