"""What workers store in SQLite while they work: outcomes, relation batches and their heartbeats."""

import functools
import json
import sqlite3
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Final

from common.domain import BigInt, Outcome, WorkerStatus, distinct
from common.store.sqlite.file import File

BATCHES_A_PAGE: Final = 16
_DISTINCT: Final = """
WITH RECURSIVE stored(number) AS (
    SELECT min(number) FROM {0} UNION ALL
    SELECT (SELECT min(number) FROM {0} WHERE number > stored.number) FROM stored WHERE number NOT NULL)
SELECT number FROM stored WHERE number NOT NULL
"""
"""`SELECT DISTINCT number` would read every row of the table."""


class Work(File):
    """The verbs of the port that are about outcomes, relation batches and workers."""

    async def insert_outcome(self, number: int, outcome: Outcome) -> None:
        """Store the first outcome of a unit."""
        values = (str(int(number)), outcome.unit_id, outcome.encode())
        await self._write(
            lambda t: t.db.execute("INSERT OR IGNORE INTO outcomes VALUES (?, ?, ?)", values)
        )

    async def list_outcomes(
        self, number: int, unit_ids: Collection[str] | None = None
    ) -> list[Outcome]:
        """Return the outcomes of a number's units."""
        query, wanted = "SELECT body FROM outcomes WHERE number = ?", [str(int(number))]
        if unit_ids is not None:
            query += " AND unit_id IN (SELECT value FROM json_each(?))"
            wanted.append(json.dumps([*unit_ids]))
        return await self._list(Outcome.decode, query, *wanted)

    async def delete_outcomes(self, number: int, unit_ids: Sequence[str]) -> None:
        """Delete outcomes."""
        rows = [(str(int(number)), unit_id) for unit_id in unit_ids]
        query = "DELETE FROM outcomes WHERE number = ? AND unit_id = ?"
        await self._write(lambda t: t.db.executemany(query, rows))

    async def list_stored(self) -> list[int]:
        """Return the numbers of which something is stored, with one look into the index for each."""
        found = [
            await self._list(BigInt, _DISTINCT.format(table)) for table in ("outcomes", "batches")
        ]
        return distinct([*found[0], *found[1]])

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


def _rows(
    query: str, values: tuple[object, ...], db: sqlite3.Connection
) -> list[tuple[str, bytes]]:
    return db.execute(query, values).fetchall()
