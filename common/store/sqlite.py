"""The embedded store: SQLite in one file. Concurrent writes share a durable commit."""

import asyncio
import concurrent.futures
import functools
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from common import errors
from common.domain import (
    ALL_SHARDS,
    SHORT_DIGITS,
    Account,
    ApiKey,
    Ending,
    Factorization,
    Lane,
    Outcome,
    Task,
    WorkerStatus,
    shard_of,
)
from common.store import TaskCursor
from common.store.sqlite_transaction import (
    Memory,
    Transaction,
    find_factorization,
    find_keyed,
    find_task,
)

Result = TypeVar("Result")
Call = Callable[[Transaction], object]

_LONG = f"(length(number) > {SHORT_DIGITS})"
"""Whether a task is in the long lane, as queries and indexes express it."""
_ENDED_AT = "json_extract(CAST(body AS TEXT), '$.ended.at')"
"""When a task ended, as queries and indexes express it."""

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS tasks (
    task_id TEXT PRIMARY KEY, owner TEXT NOT NULL, number TEXT NOT NULL, created_at REAL NOT NULL,
    round INTEGER NOT NULL, joined INTEGER NOT NULL, live INTEGER NOT NULL, idempotency_key TEXT,
    body BLOB NOT NULL) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS tasks_idempotency ON tasks (owner, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX IF NOT EXISTS tasks_newest ON tasks (owner, created_at, task_id);
CREATE INDEX IF NOT EXISTS tasks_wanted ON tasks (number, live, owner);
CREATE INDEX IF NOT EXISTS tasks_ended ON tasks (number, {_ENDED_AT}, owner)
    WHERE NOT live;
CREATE INDEX IF NOT EXISTS tasks_in_progress ON tasks (owner, {_LONG}, joined)
    WHERE live;
CREATE INDEX IF NOT EXISTS tasks_begun ON tasks (number)
    WHERE live AND joined;
CREATE INDEX IF NOT EXISTS tasks_waiting ON tasks (owner, {_LONG}, created_at)
    WHERE live AND NOT joined;
DROP INDEX IF EXISTS tasks_live;
DROP INDEX IF EXISTS tasks_number;
DROP INDEX IF EXISTS tasks_unjoined;
CREATE TABLE IF NOT EXISTS factorizations (
    number TEXT PRIMARY KEY, version INTEGER NOT NULL, touched_at REAL NOT NULL,
    active INTEGER NOT NULL, unpublished INTEGER NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS factorizations_active ON factorizations (number) WHERE active;
CREATE INDEX IF NOT EXISTS factorizations_unpublished ON factorizations (number) WHERE unpublished;
CREATE TABLE IF NOT EXISTS waits (
    awaited TEXT, number TEXT, PRIMARY KEY (awaited, number)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS waits_number ON waits (number);
CREATE TABLE IF NOT EXISTS batches (
    number TEXT, unit_id TEXT, batch BLOB NOT NULL, PRIMARY KEY (number, unit_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outcomes (
    number TEXT, unit_id TEXT, body BLOB NOT NULL, PRIMARY KEY (number, unit_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS workers (
    worker_id TEXT PRIMARY KEY, seen_at REAL NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys (
    digest TEXT PRIMARY KEY, key_id TEXT UNIQUE NOT NULL, created_at REAL NOT NULL,
    body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS accounts (
    owner TEXT PRIMARY KEY, version INTEGER NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
"""

LAYOUT = 1
"""SQLite's `user_version` of the file. 1: `waits` is filled."""
BATCHES_A_PAGE = 16
KEYS_A_QUERY = 500
"""Tasks or versions that one query asks for; SQLite before 3.32 took 999 values at most."""


class SqliteStore:
    """Writes run on one thread; those that wait at the same time are committed together.

    Looking up one task or factorization takes less time than handing the query to a thread, and in WAL
    mode it waits for no writer. So it is done at once: in memory if it was written lately, or else on a
    connection of its own. If another process writes into the file, what is in memory may be out of date
    until the next transaction, which is at most a worker's heartbeat away.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="sqlite")
        self._connection: sqlite3.Connection | None = None
        self._lookups: sqlite3.Connection | None = None
        self._waiting: list[tuple[Call, asyncio.Future[object]]] = []
        self._committer: asyncio.Task[None] | None = None
        self._memory = Memory()
        self._written_by_others: int | None = None
        """SQLite's `data_version` at our last transaction; it changes when another connection writes."""
        self.commits = 0
        """Transactions so far; fewer than writes, because concurrent writes share one."""

    async def open(self) -> None:
        """Open the file; create it and its tables if they are missing."""
        self._connection = await self._on_thread(self._connect)
        self._lookups = await self._on_thread(self._connect)

    async def close(self) -> None:
        """Commit the writes that wait, and close the file."""
        if self._committer is not None:
            await self._committer
        connections = (self._lookups, self._connection)
        self._lookups = self._connection = None
        self._memory.clear()
        for connection in connections:
            if connection is not None:
                await asyncio.get_running_loop().run_in_executor(self._thread, connection.close)
        self._thread.shutdown()

    async def ping(self) -> None:
        """Return if the file can be written to."""
        await self._write(lambda t: t.db.execute("DELETE FROM workers WHERE worker_id = ''"))

    # --- tasks ---

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
            return [Task.decode(body) for (body,) in _rows_of(db, query, missing)]

        return held + await self._read(find)

    async def list_keyed(self, owner: str, keys: Sequence[str]) -> list[Task]:
        """Return the owner's tasks with these idempotency keys."""

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

    async def is_wanted(self, number: int) -> bool:
        """Return whether a live task asks for the number, or an active factorization waits for it."""
        return self._look_up(functools.partial(_is_wanted, number))

    async def list_wanted(self, numbers: Sequence[int]) -> set[int]:
        """Return those of the numbers that are wanted."""
        return await self._read(
            lambda db: {int(number) for number in numbers if _is_wanted(number, db)}
        )

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
        return await self._list(int, query, key, limit)

    async def count_live(
        self, owner: str, *, lane: Lane | None = None, joined: bool | None = None, limit: int
    ) -> int:
        """Count the owner's live tasks, up to the limit."""
        where, values = "owner = ? AND live", [owner]
        if lane is not None:
            where += f" AND {_LONG} = {int(lane is Lane.LONG)}"
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
            f"AND created_at < ? AND owner = ? AND {_LONG} = ? LIMIT 1"
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
            f"AND {_LONG} = {int(lane is Lane.LONG)} AND created_at < ? ORDER BY created_at LIMIT ?"
        )
        return await self._list(Task.decode, query, owner, created_before, limit)

    async def list_owners(self, numbers: Sequence[int], *, since: float) -> dict[int, set[str]]:
        """Return the owners of tasks that are live or ended after ``since``."""
        # Going through the index from owner to owner: one of them may have 50 000 tasks.
        next_owner = (
            "SELECT owner FROM tasks WHERE number = ? AND live = 1 AND owner > ? "
            "ORDER BY owner LIMIT 1"
        )
        lately = (
            "SELECT DISTINCT owner FROM tasks "  # noqa: S608 ours
            f"WHERE NOT live AND number = ? AND {_ENDED_AT} > ?"
        )

        def look(db: sqlite3.Connection) -> dict[int, set[str]]:
            found: dict[int, set[str]] = {}
            for number in numbers:
                key = str(int(number))
                owners = {owner for (owner,) in db.execute(lately, (key, since))}
                owner = ""
                while row := db.execute(next_owner, (key, owner)).fetchone():
                    owner = row[0]
                    owners.add(owner)
                found[int(number)] = owners
            return found

        return await self._read(look)

    # --- factorizations ---

    async def get_factorization(self, number: int) -> Factorization | None:
        """Return what is known of a number."""
        known = self._memory.factorizations.get(number)
        return known or self._look_up(lambda db: find_factorization(db, number))

    async def list_versions(self, numbers: Sequence[int]) -> list[int]:
        """Return the version of each number's factorization."""
        keys = [str(int(number)) for number in numbers]
        query = "SELECT number, version FROM factorizations WHERE number IN"
        found = dict(await self._read(lambda db: _rows_of(db, query, keys)))
        return [found.get(key, 0) for key in keys]

    async def list_ended(self, numbers: Sequence[int]) -> list[Factorization]:
        """Return the factorizations of those of the numbers whose work has ended."""
        query = "SELECT body FROM factorizations WHERE number = ? AND NOT active"

        def find(db: sqlite3.Connection) -> list[Factorization]:
            rows = (db.execute(query, (str(int(number)),)).fetchone() for number in numbers)
            found = [Factorization.decode(row[0]) for row in rows if row]
            return [known for known in found if known.ended is not None]

        return await self._read(find)

    async def create_factorization(self, factorization: Factorization) -> Factorization:
        """Insert it unless there is one of its number; return the one that is stored now."""
        return await self._write(
            lambda t: t.factorization(factorization.number) or t.put_factorization(factorization)
        )

    async def swap_factorization(self, new: Factorization) -> bool:
        """Replace the version before ``new``."""

        def swap(transaction: Transaction) -> bool:
            known = transaction.factorization(new.number)
            if known is None or known.version != new.version - 1:
                return False
            if not set(new.carried) <= set(known.outbox):
                return False
            transaction.put_factorization(new)
            return True

        return await self._write(swap)

    async def clear_outbox(self, number: int, unit_ids: Sequence[str]) -> None:
        """Take published units out of the outbox."""

        def clear(transaction: Transaction) -> None:
            if known := transaction.factorization(number):
                left = tuple(unit_id for unit_id in known.outbox if unit_id not in unit_ids)
                transaction.put_factorization(msgspec.structs.replace(known, outbox=left))

        await self._write(clear)

    async def list_unpublished(
        self,
        *,
        touched_before: float,
        after: int | None,
        limit: int,
        shards: Collection[int] = ALL_SHARDS,
    ) -> list[Factorization]:
        """Return factorizations with units in their outbox, by key."""
        return await self._list_factorizations("unpublished", touched_before, after, limit, shards)

    async def list_active(
        self,
        *,
        touched_before: float,
        after: int | None,
        limit: int,
        shards: Collection[int] = ALL_SHARDS,
    ) -> list[Factorization]:
        """Return active factorizations, by key."""
        return await self._list_factorizations("active", touched_before, after, limit, shards)

    async def list_waiting(
        self, number: int, *, after: int | None, limit: int
    ) -> list[Factorization]:
        """Return active factorizations that wait for a number, by key."""
        query = (
            "SELECT body FROM waits JOIN factorizations ON factorizations.number = waits.number "
            "WHERE awaited = ? AND waits.number > ? ORDER BY waits.number LIMIT ?"
        )
        key = "" if after is None else str(int(after))
        return await self._list(Factorization.decode, query, str(int(number)), key, limit)

    async def _list_factorizations(
        self,
        which: str,
        touched_before: float,
        after: int | None,
        limit: int,
        shards: Collection[int],
    ) -> list[Factorization]:
        query = (
            f"SELECT body FROM factorizations WHERE {which} AND touched_at < ? "  # noqa: S608 ours
            f"AND number > ? {_in_shards(shards)} ORDER BY number LIMIT ?"
        )
        key = "" if after is None else str(int(after))
        return await self._list(Factorization.decode, query, touched_before, key, limit)

    # --- outcomes ---

    async def insert_outcome(self, number: int, outcome: Outcome) -> None:
        """Store the first outcome of a unit."""
        values = (str(int(number)), outcome.unit_id, outcome.encode())
        await self._write(
            lambda t: t.db.execute("INSERT OR IGNORE INTO outcomes VALUES (?, ?, ?)", values)
        )

    async def list_outcomes(self, number: int) -> list[Outcome]:
        """Return the outcomes of a number's units."""
        query = "SELECT body FROM outcomes WHERE number = ?"
        return await self._list(Outcome.decode, query, str(int(number)))

    async def delete_outcomes(self, number: int, unit_ids: Sequence[str]) -> None:
        """Delete outcomes."""
        rows = [(str(int(number)), unit_id) for unit_id in unit_ids]
        query = "DELETE FROM outcomes WHERE number = ? AND unit_id = ?"
        await self._write(lambda t: t.db.executemany(query, rows))

    # --- relation batches ---

    async def insert_batch(self, number: int, unit_id: str, batch: bytes) -> None:
        """Store the first batch of a unit."""
        values = (str(int(number)), unit_id, batch)
        await self._write(
            lambda t: t.db.execute("INSERT OR IGNORE INTO batches VALUES (?,?,?)", values)
        )

    async def iterate_batches(self, number: int) -> AsyncIterator[tuple[str, bytes]]:
        """Yield the batches of a number in the order of unit ids, reading a few at a time."""
        query = (
            "SELECT unit_id, batch FROM batches WHERE number = ? AND unit_id > ? "
            "ORDER BY unit_id LIMIT ?"
        )
        last = ""
        while True:
            values = (str(int(number)), last, BATCHES_A_PAGE)
            rows = await self._read(functools.partial(_rows, query, values))
            for unit_id, batch in rows:
                yield unit_id, batch
                last = unit_id
            if len(rows) < BATCHES_A_PAGE:
                return

    async def delete_batches(self, number: int) -> None:
        """Delete the batches of a number."""
        values = (str(int(number)),)
        await self._write(lambda t: t.db.execute("DELETE FROM batches WHERE number = ?", values))

    # --- workers ---

    async def heartbeat(self, status: WorkerStatus) -> None:
        """Store a worker's heartbeat."""
        values = (status.worker_id, status.seen_at, status.encode())
        await self._write(lambda t: t.db.execute("REPLACE INTO workers VALUES (?, ?, ?)", values))

    async def remove_worker(self, worker_id: str) -> None:
        """Delete a worker."""
        await self._write(
            lambda t: t.db.execute("DELETE FROM workers WHERE worker_id=?", (worker_id,))
        )

    async def get_worker(self, worker_id: str) -> WorkerStatus | None:
        """Return a worker's last heartbeat."""
        query = "SELECT body FROM workers WHERE worker_id = ?"
        found = await self._list(WorkerStatus.decode, query, worker_id)
        return found[0] if found else None

    async def list_workers(self, *, seen_after: float) -> list[WorkerStatus]:
        """Return the workers whose heartbeat is newer than that, ordered by id."""
        query = "SELECT body FROM workers WHERE seen_at > ? ORDER BY worker_id"
        return await self._list(WorkerStatus.decode, query, seen_after)

    # --- API keys and what their owners have used ---

    async def insert_key(self, key: ApiKey) -> None:
        """Store a new key."""
        await self._write(lambda t: _put_key(t.db, key))

    async def find_keys(self, digests: Sequence[str]) -> list[ApiKey]:
        """Return the keys with these digests."""
        query = "SELECT body FROM keys WHERE digest = ?"

        def find(db: sqlite3.Connection) -> list[ApiKey]:
            rows = (db.execute(query, (digest,)).fetchone() for digest in digests)
            return [ApiKey.decode(row[0]) for row in rows if row]

        return await self._read(find)

    async def list_keys(self) -> list[ApiKey]:
        """Return all keys, oldest first."""
        query = "SELECT body FROM keys ORDER BY created_at, key_id"
        return await self._list(ApiKey.decode, query)

    async def revoke_key(self, key_id: str, at: float) -> ApiKey:
        """Revoke a key for good and return it."""

        def revoke(transaction: Transaction) -> ApiKey:
            db = transaction.db
            row = db.execute("SELECT body FROM keys WHERE key_id = ?", (key_id,)).fetchone()
            if row is None:
                raise errors.UnknownKey(key_id=key_id)
            key = ApiKey.decode(row[0])
            if key.revoked_at is not None:
                return key
            return _put_key(db, msgspec.structs.replace(key, revoked_at=at))

        return await self._write(revoke)

    async def get_account(self, owner: str) -> Account:
        """Return what an owner has used."""
        query = "SELECT body FROM accounts WHERE owner = ?"
        found = await self._list(Account.decode, query, owner)
        return found[0] if found else Account(owner=owner)

    async def swap_account(self, new: Account) -> bool:
        """Replace the version before ``new``."""

        def swap(transaction: Transaction) -> bool:
            db = transaction.db
            query = "SELECT version FROM accounts WHERE owner = ?"
            row = db.execute(query, (new.owner,)).fetchone()
            if (row[0] if row else 0) != new.version - 1:
                return False
            values = (new.owner, new.version, new.encode())
            db.execute("REPLACE INTO accounts VALUES (?, ?, ?)", values)
            return True

        return await self._write(swap)

    # --- the thread ---

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        # FULL makes a commit survive a loss of power, not only a kill.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.create_function("shard_of", 1, shard_of, deterministic=True)
        connection.executescript(SCHEMA)
        _upgrade(connection)
        return connection

    async def _on_thread(self, call: Callable[[], Result]) -> Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, call)
        except (sqlite3.Error, OSError, RuntimeError) as error:
            raise errors.StoreUnavailable(error) from error

    async def _read(self, call: Callable[[sqlite3.Connection], Result]) -> Result:
        return await self._on_thread(lambda: call(_opened(self._connection)))

    def _look_up(self, call: Callable[[sqlite3.Connection], Result]) -> Result:
        try:
            return call(_opened(self._lookups))
        except sqlite3.Error as error:
            raise errors.StoreUnavailable(error) from error

    async def _list(
        self, decode: Callable[[bytes], Result], query: str, *values: object
    ) -> list[Result]:
        return await self._read(lambda db: [decode(body) for (body,) in db.execute(query, values)])

    async def _write(self, call: Callable[[Transaction], Result]) -> Result:
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((call, cast("asyncio.Future[object]", future)))
        if self._committer is None or self._committer.done():
            self._committer = asyncio.create_task(self._commit())
        return await future

    async def _commit(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            calls = [call for call, _ in batch]
            try:
                results, done = await self._on_thread(functools.partial(self._transact, calls))
                self._memory.note(done)
            except errors.StoreUnavailable as error:
                results = [error] * len(batch)
                self._memory.clear()  # the commit may have succeeded although its answer was lost
            for (_, future), result in zip(batch, results, strict=True):
                if future.done():
                    continue  # its caller was cancelled; the write stands
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)

    def _transact(self, calls: list[Call]) -> tuple[list[object], Transaction]:
        """Run the calls in one transaction; if one raises, roll back and run the others without it."""
        db = _opened(self._connection)
        raised: dict[int, Exception] = {}
        while True:
            db.execute("BEGIN IMMEDIATE")
            try:
                self._notice_other_writers(db)
                transaction = Transaction(db, self._memory)
                results: list[object] = []
                for place, call in enumerate(calls):
                    results.append(raised[place] if place in raised else call(transaction))
                db.execute("COMMIT")
            except sqlite3.Error:
                raise
            except Exception as error:  # noqa: BLE001 a bug in one call must not fail the others
                raised[len(results)] = error
            else:
                self.commits += 1
                return results, transaction
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

    def _notice_other_writers(self, db: sqlite3.Connection) -> None:
        """Forget what is in memory if another process has written into the file."""
        written = db.execute("PRAGMA data_version").fetchone()[0]
        if written != self._written_by_others:
            self._memory.clear()
            self._written_by_others = written


def _upgrade(connection: sqlite3.Connection) -> None:
    """Add what files of earlier versions lack: the table of what numbers wait for was empty in them."""
    if connection.execute("PRAGMA user_version").fetchone()[0] >= LAYOUT:
        return
    connection.execute("BEGIN IMMEDIATE")
    for (body,) in connection.execute("SELECT body FROM factorizations WHERE active").fetchall():
        known = Factorization.decode(body)
        rows = [(str(int(awaited)), str(int(known.number))) for awaited in known.waits_for]
        connection.executemany("INSERT OR IGNORE INTO waits VALUES (?, ?)", rows)
    connection.execute(f"PRAGMA user_version = {LAYOUT:d}")
    connection.execute("COMMIT")


def _opened(connection: sqlite3.Connection | None) -> sqlite3.Connection:
    if connection is None:
        raise errors.StoreUnavailable("it is closed")
    return connection


def _is_wanted(number: int, db: sqlite3.Connection) -> bool:
    query = (
        "SELECT 1 FROM tasks WHERE number = ?1 AND live = 1 "
        "UNION ALL SELECT 1 FROM waits WHERE awaited = ?1 LIMIT 1"
    )
    return db.execute(query, (str(int(number)),)).fetchone() is not None


def _in_shards(shards: Collection[int]) -> str:
    """Return the condition for numbers of these shards, which most often are all."""
    if {*shards} >= ALL_SHARDS:
        return ""
    return f"AND shard_of(number) IN ({', '.join(str(int(shard)) for shard in shards)})"


def _rows(
    query: str, values: tuple[object, ...], db: sqlite3.Connection
) -> list[tuple[str, bytes]]:
    return db.execute(query, values).fetchall()


def _rows_of(db: sqlite3.Connection, query: str, keys: Sequence[str]) -> list[Any]:
    """Return the rows of a query that ends in ``IN``, for any number of keys."""
    found: list[Any] = []
    for start in range(0, len(keys), KEYS_A_QUERY):
        some = keys[start : start + KEYS_A_QUERY]
        found += db.execute(f"{query} ({','.join('?' * len(some))})", some)
    return found


def _put_key(db: sqlite3.Connection, key: ApiKey) -> ApiKey:
    values = (key.digest, key.key_id, key.created_at, key.encode())
    db.execute("REPLACE INTO keys VALUES (?, ?, ?, ?)", values)
    return key
