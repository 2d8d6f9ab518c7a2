"""A transaction of the SQLite store, and the cache of values that recent transactions have written.

A short number is read a dozen times within a second, mostly right after it was written. Querying and
decoding it each time would be a sixth of its total cost.
"""

import itertools
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

import msgspec

from common.domain import Ending, Factorization, Task, key_of

Value = TypeVar("Value", Task, Factorization)

MOST_RECENT = 2048
"""How many tasks and how many factorizations are kept in memory."""


class Recent(Generic[Value]):
    """The values that were committed last, by key. They are immutable, so they can be shared."""

    def __init__(self) -> None:
        self._values: dict[str, Value] = {}

    def get(self, key: str) -> Value | None:
        """Return the value as committed, or None if it is not kept."""
        return self._values.get(key)

    def note(self, committed: Mapping[str, Value | None]) -> None:
        """Add values that were committed, and drop those that were deleted (None) and the oldest."""
        for key, value in committed.items():
            self._values.pop(key, None)
            if value is not None:
                self._values[key] = value
        surplus = max(0, len(self._values) - MOST_RECENT)
        for key in list(itertools.islice(self._values, surplus)):
            del self._values[key]

    def clear(self) -> None:
        """Drop everything."""
        self._values.clear()


class Memory:
    """The cache: tasks by id, and factorizations by the key of their number."""

    def __init__(self) -> None:
        self.tasks: Recent[Task] = Recent()
        self.factorizations: Recent[Factorization] = Recent()

    def note(self, transaction: "Transaction") -> None:
        """Add what a transaction has written, now that it is committed."""
        self.tasks.note(transaction.tasks)
        self.factorizations.note(transaction.factorizations)

    def clear(self) -> None:
        """Drop everything."""
        self.tasks.clear()
        self.factorizations.clear()


class Transaction:
    """A transaction in progress. It sees what it has written itself."""

    def __init__(self, db: sqlite3.Connection, memory: Memory) -> None:
        self.db = db
        self._memory = memory
        self.tasks: dict[str, Task | None] = {}
        """None for a task that was deleted."""
        self.factorizations: dict[str, Factorization] = {}

    def task(self, task_id: str) -> Task | None:
        """Return a task."""
        if task_id in self.tasks:
            return self.tasks[task_id]
        return self._memory.tasks.get(task_id) or find_task(self.db, task_id)

    def live_tasks(self, number: int, *, up_to_round: int) -> list[Task]:
        """Return the live tasks of a number that wait for this round or an earlier one."""
        query = "SELECT task_id, body FROM tasks WHERE number = ? AND live = 1 AND round <= ?"
        rows = self.db.execute(query, (str(int(number)), up_to_round)).fetchall()
        held = (self.tasks.get(each) or self._memory.tasks.get(each) for each, _ in rows)
        return [task or Task.decode(body) for task, (_, body) in zip(held, rows, strict=True)]

    def insert_task(self, task: Task) -> Task:
        """Insert a task unless its id is there; return what is stored."""
        return self.task(task.task_id) or self.put_task(task)

    def end_task(self, task: Task, ending: Ending) -> Task:
        """Write the ending of a task."""
        return self.put_task(msgspec.structs.replace(task, ended=ending))

    def delete_tasks(self, task_ids: Sequence[str]) -> None:
        """Delete tasks."""
        rows = [(task_id,) for task_id in task_ids]
        self.db.executemany("DELETE FROM tasks WHERE task_id = ?", rows)
        self.tasks.update(dict.fromkeys(task_ids))

    def put_task(self, task: Task) -> Task:
        """Write a task."""
        values = (
            task.task_id,
            task.owner,
            str(int(task.key)),
            task.created_at,
            task.round,
            task.joined,
            task.ended is None,
            task.idempotency_key,
            task.encode(),
        )
        self.db.execute("REPLACE INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        self.tasks[task.task_id] = task
        return task

    def factorization(self, number: int) -> Factorization | None:
        """Return what is known of a number."""
        key = key_of(number)
        found = self.factorizations.get(key) or self._memory.factorizations.get(key)
        return found or find_factorization(self.db, number)

    def put_factorization(self, known: Factorization) -> Factorization:
        """Write what is known of a number, and what it waits for."""
        before = self.factorization(known.number)
        if known.waits_for != (before.waits_for if before else ()):
            self._put_waits(known)
        values = (
            str(int(known.number)),
            known.version,
            known.touched_at,
            known.active,
            bool(known.outbox),
            known.encode(),
        )
        self.db.execute("REPLACE INTO factorizations VALUES (?, ?, ?, ?, ?, ?)", values)
        self.factorizations[key_of(known.number)] = known
        return known

    def _put_waits(self, known: Factorization) -> None:
        key = str(int(known.number))
        self.db.execute("DELETE FROM waits WHERE number = ?", (key,))
        rows = [(str(int(awaited)), key) for awaited in known.waits_for]
        self.db.executemany("INSERT INTO waits VALUES (?, ?)", rows)


def find_task(db: sqlite3.Connection, task_id: str) -> Task | None:
    """Return the stored task with an id."""
    return _task(db.execute("SELECT body FROM tasks WHERE task_id = ?", (task_id,)))


def find_keyed(db: sqlite3.Connection, owner: str, key: str) -> Task | None:
    """Return the task in which version 0.1 stored an owner's idempotency key."""
    query = "SELECT body FROM tasks WHERE owner = ? AND idempotency_key = ?"
    return _task(db.execute(query, (owner, key)))


def _task(rows: sqlite3.Cursor) -> Task | None:
    row = rows.fetchone()
    return Task.decode(row[0]) if row else None


def find_factorization(db: sqlite3.Connection, number: int) -> Factorization | None:
    """Return what is stored of a number."""
    query = "SELECT body FROM factorizations WHERE number = ?"
    row = db.execute(query, (str(int(number)),)).fetchone()
    return Factorization.decode(row[0]) if row else None
