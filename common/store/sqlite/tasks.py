"""The tasks in SQLite."""

import functools
import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec

from common import errors
from common.domain import BigInt, Ending, KeyedRequest, Lane, Task
from common.store import TaskCursor
from common.store.sqlite.file import File, rows_of
from common.store.sqlite.schema import ENDED_AT, LONG
from common.store.sqlite.transaction import Transaction, find_keyed, find_task

ROWS_A_DELETION: Final = 1000
"""Other writes wait for a transaction that deletes this many."""


class Tasks(File):
    """The verbs of the port that are about tasks."""

    async def insert_tasks(self, tasks: Sequence[Task]) -> list[Task]:
        """Insert the tasks; return what is stored for each."""
        return await self._write(lambda t: [t.insert_task(task) for task in tasks])

    async def get_task(self, task_id: str, owner: str) -> Task:
        """Return the owner's task."""
        task = self._memory.tasks.get(task_id)
        task = task or self._look_up(lambda db: find_task(db, task_id))
        if task is None or task.owner != owner:
            raise errors.UnknownTask(task_id=task_id)
        return task

    async def get_tasks(self, task_ids: Sequence[str]) -> list[Task]:
        """Return those of the tasks that exist."""
        found = [self._memory.tasks.get(task_id) for task_id in task_ids]
        held = [task for task in found if task]
        missing = [one for one, task in zip(task_ids, found, strict=True) if task is None]
        if not missing:
            return held
        if len(missing) == 1:
            task = self._look_up(lambda db: find_task(db, missing[0]))
            return held + ([task] if task else [])
        query = "SELECT body FROM tasks WHERE task_id IN"

        def find(db: sqlite3.Connection) -> list[Task]:
            return [Task.decode(body) for (body,) in rows_of(db, query, missing)]

        return held + await self._read(find)

    async def list_keyed(self, owner: str, keys: Sequence[str]) -> list[Task]:
        """Return the owner's tasks with these keys of version 0.1."""

        def find(db: sqlite3.Connection) -> list[Task]:
            found = (find_keyed(db, owner, key) for key in keys)
            return [task for task in found if task]

        return await self._read(find)

    async def list_tasks(self, owner: str, *, before: TaskCursor | None, limit: int) -> list[Task]:
        """Return a page of the owner's tasks, newest first."""
        query = "SELECT body FROM tasks WHERE owner = ?"
        values: list[object] = [owner]
        if before is not None:
            query += " AND (created_at, task_id) < (?, ?)"
            values += before
        query += " ORDER BY created_at DESC, task_id DESC LIMIT ?"
        return await self._list(Task.decode, query, *values, limit)

    async def end_task(self, task_id: str, ending: Ending) -> Task:
        """Write the ending unless there is one; return the task as it is now."""

        def end(transaction: Transaction) -> Task:
            task = transaction.task(task_id)
            if task is None:
                raise errors.UnknownTask(task_id=task_id)
            return transaction.end_task(task, ending) if task.ended is None else task

        return await self._write(end)

    async def end_tasks(self, number: int, *, up_to_round: int, ending: Ending) -> None:
        """End the live tasks of a number."""

        def end(transaction: Transaction) -> None:
            for task in transaction.live_tasks(number, up_to_round=up_to_round):
                transaction.end_task(task, ending)

        return await self._write(end)

    async def erase_tasks(
        self, owner: str, task_ids: Sequence[str] | None = None, *, limit: int
    ) -> int:
        """Delete tasks of the owner that have ended, oldest first."""
        oldest = "SELECT task_id FROM tasks WHERE owner = ? AND NOT live ORDER BY created_at, task_id LIMIT ?"
        one = "SELECT task_id FROM tasks WHERE owner = ? AND NOT live AND task_id = ?"

        def erase(transaction: Transaction) -> int:
            if task_ids is None:
                found = transaction.db.execute(oldest, (owner, limit)).fetchall()
            else:
                rows = [transaction.db.execute(one, (owner, each)).fetchone() for each in task_ids]
                found = [row for row in rows if row][:limit]
            transaction.delete_tasks([task_id for (task_id,) in found])
            return len(found)

        return await self._write(erase)

    async def delete_expired(self) -> None:
        """Delete ended tasks and requests that are too old, a few thousand at a time."""
        ended = f"SELECT task_id FROM tasks WHERE NOT live AND {ENDED_AT} < ? LIMIT ?"  # noqa: S608 ours

        def delete_tasks(transaction: Transaction) -> int:
            before = self.now() - 86_400 * self.keep.task_days
            found = transaction.db.execute(ended, (before, ROWS_A_DELETION)).fetchall()
            transaction.delete_tasks([task_id for (task_id,) in found])
            return len(found)

        def delete_requests(transaction: Transaction) -> None:
            before = self.now() - 3600 * self.keep.key_hours
            transaction.db.execute("DELETE FROM requests WHERE made_at < ?", (before,))

        await self._write(delete_requests)
        while self.keep.task_days and await self._write(delete_tasks) == ROWS_A_DELETION:
            pass

    async def is_wanted(self, number: int) -> bool:
        """Return whether a live task asks for the number, or an active factorization waits for it."""
        return self._look_up(functools.partial(_is_wanted, number))

    async def list_wanted(self, numbers: Sequence[int]) -> list[bool]:
        """Return whether each of the numbers is wanted."""
        return await self._read(lambda db: [_is_wanted(number, db) for number in numbers])

    async def mark_joined(self, task_ids: Sequence[str]) -> None:
        """Record that the tasks have joined their factorizations."""

        def mark(transaction: Transaction) -> None:
            for task_id in task_ids:
                if task := transaction.task(task_id):
                    transaction.put_task(msgspec.structs.replace(task, joined=True))

        await self._write(mark)

    async def list_begun(self, *, after: int | None, limit: int) -> list[int]:
        """Return the numbers that live joined tasks ask for, by key."""
        query = (
            "SELECT DISTINCT number FROM tasks WHERE live AND joined AND number > ? "
            "ORDER BY number LIMIT ?"
        )
        key = "" if after is None else str(int(after))
        return await self._list(BigInt, query, key, limit)

    async def count_live(
        self, owner: str, *, lane: Lane | None = None, joined: bool | None = None, limit: int
    ) -> int:
        """Count the owner's live tasks, up to the limit."""
        where, values = "owner = ? AND live", [owner]
        if lane is not None:
            where += f" AND {LONG} = {int(lane is Lane.LONG)}"
        if joined is not None:
            where += f" AND joined = {int(joined)}"
        query = f"SELECT count(*) FROM (SELECT 1 FROM tasks WHERE {where} LIMIT {limit:d})"  # noqa: S608 ours
        return await self._read(lambda db: int(db.execute(query, values).fetchone()[0]))

    async def list_waiting_owners(self) -> list[str]:
        """Return the owners who have unjoined tasks, going through the index by owner."""
        query = (
            "SELECT owner FROM tasks WHERE live AND NOT joined AND owner > ? ORDER BY owner LIMIT 1"
        )

        def skip(db: sqlite3.Connection) -> list[str]:
            found = [""]
            while row := db.execute(query, (found[-1],)).fetchone():
                found += row
            return found[1:]

        return await self._read(skip)

    async def list_queues(
        self, owners: Sequence[str], *, created_before: float
    ) -> list[tuple[str, Lane]]:
        """Return those of the owners, with the lane, who have unjoined tasks."""
        query = (
            "SELECT 1 FROM tasks WHERE live AND NOT joined "  # noqa: S608 ours
            f"AND created_at < ? AND owner = ? AND {LONG} = ? LIMIT 1"
        )

        def look(db: sqlite3.Connection) -> list[tuple[str, Lane]]:
            return [
                (owner, lane)
                for owner in owners
                for lane in Lane
                if db.execute(query, (created_before, owner, lane is Lane.LONG)).fetchone()
            ]

        return await self._read(look)

    async def list_unjoined(
        self, owner: str, lane: Lane, *, created_before: float, limit: int
    ) -> list[Task]:
        """Return unjoined live tasks of a queue, oldest first."""
        query = (
            "SELECT body FROM tasks WHERE live AND NOT joined AND owner = ? "  # noqa: S608 ours
            f"AND {LONG} = {int(lane is Lane.LONG)} AND created_at < ? ORDER BY created_at LIMIT ?"
        )
        return await self._list(Task.decode, query, owner, created_before, limit)

    async def list_owners(self, numbers: Sequence[int], *, since: float) -> list[set[str]]:
        """Return the owners of tasks that are live or ended after ``since``."""
        # Going through the index from owner to owner: one of them may have 50 000 tasks.
        next_owner = (
            "SELECT owner FROM tasks WHERE number = ? AND live = 1 AND owner > ? "
            "ORDER BY owner LIMIT 1"
        )
        lately = (
            "SELECT DISTINCT owner FROM tasks "  # noqa: S608 ours
            f"WHERE NOT live AND number = ? AND {ENDED_AT} > ?"
        )

        def look(db: sqlite3.Connection) -> list[set[str]]:
            found: list[set[str]] = []
            for number in numbers:
                key = str(int(number))
                owners = {owner for (owner,) in db.execute(lately, (key, since))}
                owner = ""
                while row := db.execute(next_owner, (key, owner)).fetchone():
                    owner = row[0]
                    owners.add(owner)
                found.append(owners)
            return found

        return await self._read(look)

    # --- requests that came with an Idempotency-Key ---

    async def insert_request(self, request: KeyedRequest) -> KeyedRequest:
        """Store a request unless it is there; return the one that is stored now."""

        def insert(transaction: Transaction) -> KeyedRequest:
            db = transaction.db
            if stored := self._find_request(request.request_id, db):
                return stored
            values = (request.request_id, request.made_at, request.encode())
            db.execute("REPLACE INTO requests VALUES (?, ?, ?)", values)
            return request

        return await self._write(insert)

    async def get_request(self, request_id: str) -> KeyedRequest | None:
        """Return a request that has not expired."""
        return await self._read(functools.partial(self._find_request, request_id))

    def _find_request(self, request_id: str, db: sqlite3.Connection) -> KeyedRequest | None:
        query = "SELECT body FROM requests WHERE request_id = ? AND made_at > ?"
        row = db.execute(query, (request_id, self.now() - 3600 * self.keep.key_hours)).fetchone()
        return KeyedRequest.decode(row[0]) if row else None


def _is_wanted(number: int, db: sqlite3.Connection) -> bool:
    query = (
        "SELECT 1 FROM tasks WHERE number = ?1 AND live = 1 "
        "UNION ALL SELECT 1 FROM waits WHERE awaited = ?1 LIMIT 1"
    )
    return db.execute(query, (str(int(number)),)).fetchone() is not None
