"""What workers store in MongoDB while they work: outcomes, relation batches and their heartbeats."""

import contextlib
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Final

from pymongo import ASCENDING

from common.domain import BigInt, Outcome, WorkerStatus
from common.store import DEFAULT_RETENTION, Retention
from common.store.mongo.server import Document, Duplicates, Server, answered, batched

BATCHES_A_PAGE: Final = 16


class Work(Server):
    """The verbs of the port that are about outcomes, relation batches and workers."""

    def __init__(
        self, uri: str, *, name: str = "factorline", keep: Retention = DEFAULT_RETENTION
    ) -> None:
        super().__init__(uri, name=name, keep=keep)
        self._insert_outcome = batched(self._insert_outcomes)

    async def insert_outcome(self, number: int, outcome: Outcome) -> None:
        """Store the first outcome of a unit."""
        await self._insert_outcome({**outcome.to_document(), "number": str(int(number))})

    async def _insert_outcomes(self, documents: Sequence[Document]) -> list[None]:
        db = await self._ready()
        with contextlib.suppress(Duplicates):
            await answered(db.outcomes.insert_many(documents, ordered=False))
        return [None] * len(documents)

    async def list_outcomes(
        self, number: int, unit_ids: Collection[str] | None = None
    ) -> list[Outcome]:
        """Return the outcomes of a number's units."""
        db = await self._ready()
        which: Document = {"number": str(int(number))}
        if unit_ids is not None:
            which["unit_id"] = {"$in": list(unit_ids)}
        found = await answered(db.outcomes.find(which).to_list(None))
        return [Outcome.from_document(document) for document in found]

    async def delete_outcomes(self, number: int, unit_ids: Sequence[str]) -> None:
        """Delete outcomes."""
        db = await self._ready()
        which = {"number": str(int(number)), "unit_id": {"$in": list(unit_ids)}}
        await answered(db.outcomes.delete_many(which))

    async def list_stored(self) -> list[int]:
        """Return the numbers of which something is stored, from the indexes by number."""
        db, every = await self._ready(), {"number": {"$gt": ""}}
        found = [
            await answered(each.distinct("number", every)) for each in (db.outcomes, db.batches)
        ]
        return [BigInt(number) for number in {*found[0], *found[1]}]

    async def insert_batch(self, number: int, unit_id: str, batch: bytes) -> None:
        """Store the first batch of a unit."""
        db = await self._ready()
        document = {"number": str(int(number)), "unit_id": unit_id, "batch": batch}
        with contextlib.suppress(Duplicates):
            await answered(db.batches.insert_many([document]))

    async def iterate_batches(self, number: int) -> AsyncIterator[tuple[str, bytes]]:
        """Yield the batches of a number in the order of unit ids, reading a few at a time."""
        db = await self._ready()
        last = ""
        while True:
            query = {"number": str(int(number)), "unit_id": {"$gt": last}}
            cursor = db.batches.find(query).sort("unit_id", ASCENDING).limit(BATCHES_A_PAGE)
            page = await answered(cursor.to_list(BATCHES_A_PAGE))
            for document in page:
                yield document["unit_id"], document["batch"]
                last = document["unit_id"]
            if len(page) < BATCHES_A_PAGE:
                return

    async def delete_batches(self, number: int) -> None:
        """Delete the batches of a number."""
        db = await self._ready()
        await answered(db.batches.delete_many({"number": str(int(number))}))

    async def heartbeat(self, status: WorkerStatus) -> None:
        """Store a worker's heartbeat."""
        db = await self._ready()
        which = {"_id": status.worker_id}
        await answered(db.workers.replace_one(which, status.to_document(), upsert=True))

    async def remove_worker(self, worker_id: str) -> None:
        """Delete a worker."""
        db = await self._ready()
        await answered(db.workers.delete_one({"_id": worker_id}))

    async def get_worker(self, worker_id: str) -> WorkerStatus | None:
        """Return a worker's last heartbeat."""
        db = await self._ready()
        found = await answered(db.workers.find_one({"_id": worker_id}))
        return WorkerStatus.from_document(found) if found else None

    async def list_workers(self, *, seen_after: float) -> list[WorkerStatus]:
        """Return the workers whose heartbeat is newer than that, ordered by id."""
        db = await self._ready()
        cursor = db.workers.find({"seen_at": {"$gt": seen_after}}).sort("_id", ASCENDING)
        found = await answered(cursor.to_list(None))
        return [WorkerStatus.from_document(document) for document in found]
