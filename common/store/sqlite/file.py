"""The SQLite file: the thread that writes into it, and the connections that read it."""

import asyncio
import concurrent.futures
import functools
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from common import errors
from common.domain import shard_of
from common.store import DEFAULT_RETENTION, Retention, Size
from common.store.sqlite.schema import SCHEMA, upgrade
from common.store.sqlite.transaction import Memory, Transaction

Result = TypeVar("Result")
Call = Callable[[Transaction], object]

KEYS_A_QUERY: Final = 500
"""Tasks or versions that one query asks for; SQLite before 3.32 took 999 values at most."""


class File:
    """Writes run on one thread; those that wait at the same time are committed together.

    Looking up one task or factorization takes less time than handing the query to a thread, and in WAL
    mode it waits for no writer. So it is done at once: in memory if it was written lately, or else on a
    connection of its own. If another process writes into the file, what is in memory may be out of date
    until the next transaction, which is at most a worker's heartbeat away.
    """

    def __init__(self, path: Path, *, keep: Retention = DEFAULT_RETENTION) -> None:
        self._path = path
        self.keep = keep
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

    async def migrate(self) -> None:
        """Do nothing: opening the file does it all, since no other program can be using it."""

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

    def now(self) -> float:
        """Return this machine's time: no other machine writes into the file."""
        return time.time()

    async def measure(self) -> list[Size]:
        """Return how large the file is."""

        def measure(db: sqlite3.Connection) -> int:
            [pages] = db.execute("PRAGMA page_count").fetchone()
            [page_bytes] = db.execute("PRAGMA page_size").fetchone()
            return int(pages) * int(page_bytes)

        return [Size(self._path.name, await self._read(measure))]

    async def ping(self) -> None:
        """Return if the file can be written to."""
        await self._write(lambda t: t.db.execute("DELETE FROM workers WHERE worker_id = ''"))

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _keep_private(self._path)
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        # FULL makes a commit survive a loss of power, not only a kill.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.create_function("shard_of", 1, shard_of, deterministic=True)
        connection.executescript(SCHEMA)
        upgrade(connection)
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


def _opened(connection: sqlite3.Connection | None) -> sqlite3.Connection:
    if connection is None:
        raise errors.StoreUnavailable("it is closed")
    return connection


def rows_of(db: sqlite3.Connection, query: str, keys: Sequence[str]) -> list[Any]:
    """Return the rows of a query that ends in ``IN``, for any number of keys."""
    found: list[Any] = []
    for start in range(0, len(keys), KEYS_A_QUERY):
        some = keys[start : start + KEYS_A_QUERY]
        found += db.execute(f"{query} ({','.join('?' * len(some))})", some)
    return found


def _keep_private(path: Path) -> None:
    """See that a file, new or not, is for its owner alone: its folder may be one that everybody reads."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    # SQLite gives new files beside it the same mode; an older version may have left some that are public.
    for one in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
        if one.exists() and one.stat().st_mode & 0o077:
            one.chmod(0o600)
