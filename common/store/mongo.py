"""The MongoDB side of the store port, and the only module that imports motor (docs/adr/0003)."""

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator, Awaitable, Collection, Sequence
from typing import Any, Final, TypeVar

import msgspec
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorDatabase
from pymongo import ASCENDING, DESCENDING, IndexModel, UpdateMany, UpdateOne
from pymongo.errors import BulkWriteError, ConfigurationError, DuplicateKeyError, PyMongoError

from common import errors
from common.domain import (
    ALL_SHARDS,
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
from common.runtime.concurrency import Batcher, gather_limited
from common.store import TaskCursor

Result = TypeVar("Result")
Document = dict[str, Any]

CALL_SECONDS: Final = 2.5
"""Limit of a call including its retries; that a client hears back within 3 seconds depends on it."""
POOL: Final = 50
BATCH_ITEMS: Final = 32
"""Calls of one kind that become one command at most, while `BATCH_CALLS` of the kind are in flight."""
BATCH_CALLS: Final = 4
CONCURRENT_FINDS: Final = 32
"""Look-ups of one request that are in flight at a time."""
DATABASE: Final = "factorline"
"""The database, unless the address names one."""
BATCHES_A_PAGE: Final = 16
KEYS_A_FIND: Final = 2000
"""Tasks or versions that one `find` asks for: a few milliseconds of the event loop's time to decode."""
FORGET_WORKERS_SECONDS: Final = 86_400
_DUPLICATE: Final = 11_000

INDEXES: Final = {
    "tasks": [
        IndexModel(
            [("owner", ASCENDING), ("idempotency_key", ASCENDING)],
            name="keyed",
            unique=True,
            # Not `$type`: MongoDB would not recognise that a query for a key is covered by it.
            partialFilterExpression={"idempotency_key": {"$gt": ""}},
        ),
        IndexModel(
            [("owner", ASCENDING), ("created_at", DESCENDING), ("_id", DESCENDING)], name="newest"
        ),
        IndexModel(
            [("key", ASCENDING), ("owner", ASCENDING)],
            name="wanted",
            partialFilterExpression={"live": True},
        ),
        IndexModel(
            [(name, ASCENDING) for name in ("unjoined", "owner", "lane", "created_at")],
            name="unjoined",
            partialFilterExpression={"unjoined": True},
        ),
        IndexModel(
            [("owner", ASCENDING), ("lane", ASCENDING), ("joined", ASCENDING)],
            name="in_progress",
            partialFilterExpression={"live": True},
        ),
        IndexModel(
            [("joined", ASCENDING), ("key", ASCENDING)],
            name="begun",
            partialFilterExpression={"live": True},
        ),
        IndexModel(
            [("key", ASCENDING), ("ended.at", ASCENDING), ("owner", ASCENDING)], name="ended"
        ),
    ],
    "keys": [IndexModel([("key_id", ASCENDING)], name="key_id", unique=True)],
    "factorizations": [
        IndexModel(
            [(state, ASCENDING), ("shard", ASCENDING), ("number", ASCENDING)],
            name=f"{state}_shards",
            partialFilterExpression={state: True},
        )
        for state in ("active", "unpublished")
    ]
    + [
        IndexModel(
            [("waits_for", ASCENDING), ("number", ASCENDING)],
            name="waiting",
            partialFilterExpression={"active": True},
        )
    ],
    "outcomes": [
        IndexModel([("number", ASCENDING), ("unit_id", ASCENDING)], name="unit", unique=True)
    ],
    "batches": [
        IndexModel([("number", ASCENDING), ("unit_id", ASCENDING)], name="unit", unique=True)
    ],
}
"""For every query one index begins with the fields it compares for equality, or is partial by them."""


class MongoStore:
    """Documents hold the values' own fields, plus `_id` and the fields that queries need.

    Every write waits for a majority and for the journal. If the server is down, calls fail but `open` does
    not: a gateway that starts without its store answers 503 until the store is there.
    """

    def __init__(self, uri: str, *, name: str = "factorline") -> None:
        try:
            self._client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(
                uri,
                appname=name,
                w="majority",
                journal=True,
                maxPoolSize=POOL,
                timeoutMS=int(CALL_SECONDS * 1000),
                serverSelectionTimeoutMS=int(CALL_SECONDS * 1000),
                connectTimeoutMS=int(CALL_SECONDS * 1000),
                tz_aware=True,
            )
        except (ConfigurationError, ValueError) as error:
            raise errors.SettingError(
                name="FACTORLINE_MONGODB_URI", value="…", why=str(error)
            ) from error
        self._db: AsyncIOMotorDatabase[Document] = self._client.get_default_database(DATABASE)
        self._prepared = False
        self._preparing = asyncio.Lock()
        # The calls that every task makes. One command for many documents costs the server and us little
        # more than one for a single document, and waits for the majority and the journal once.
        batched = functools.partial(Batcher, max_items=BATCH_ITEMS, max_calls=BATCH_CALLS)
        self._insert_task = batched(self._insert_tasks)
        self._find_task = batched(self._find_tasks)
        self._mark_joined = batched(self._mark_all_joined)
        self._end_tasks = batched(self._end_all)
        self._find_factorization = batched(self._find_factorizations)
        self._create_factorization = batched(self._create_factorizations)
        self._clear_outbox = batched(self._clear_outboxes)
        self._insert_outcome = batched(self._insert_outcomes)

    async def open(self) -> None:
        """Create the indexes if the server is there; otherwise the first call that reaches it does."""
        try:
            await self._prepare()
        except errors.StoreUnavailable:
            return

    async def close(self) -> None:
        """Close every connection."""
        self._client.close()

    async def ping(self) -> None:
        """Return if the server takes writes."""
        db = await self._ready()
        await _answered(db.workers.delete_one({"_id": ""}))

    # --- tasks ---

    async def insert_tasks(self, tasks: Sequence[Task]) -> list[Task]:
        """Insert the tasks; return what is stored for each."""
        if len(tasks) == 1:
            return [await self._insert_task(tasks[0])]
        return await self._insert_tasks(tasks) if tasks else []

    async def _insert_tasks(self, tasks: Sequence[Task]) -> list[Task]:
        db = await self._ready()
        documents = [_task_document(task) for task in tasks]
        taken: list[int] = []
        try:
            await _answered(db.tasks.insert_many(documents, ordered=False))
        except _Duplicates as error:
            taken = error.indexes
        stored = list(tasks)
        for index in taken:
            stored[index] = await self._stored_instead(tasks[index])
        return stored

    async def _stored_instead(self, task: Task) -> Task:
        stored = await self._find_task(task.task_id)
        if stored is None and task.idempotency_key is not None:
            stored = next(iter(await self.list_keyed(task.owner, [task.idempotency_key])), None)
        if stored is None:
            raise errors.StoreUnavailable("a task that existed a moment ago is gone")
        return stored

    async def get_task(self, task_id: str, owner: str) -> Task:
        """Return the owner's task."""
        task = await self._find_task(task_id)
        if task is None or task.owner != owner:
            raise errors.UnknownTask(task_id=task_id)
        return task

    async def _find_tasks(self, task_ids: Sequence[str]) -> list[Task | None]:
        db = await self._ready()
        found = await _found(db.tasks, task_ids)
        return [Task.from_document(found[one]) if one in found else None for one in task_ids]

    async def get_tasks(self, task_ids: Sequence[str]) -> list[Task]:
        """Return those of the tasks that exist."""
        if len(task_ids) == 1:  # shares a command with whoever else looks for one
            task = await self._find_task(task_ids[0])
            return [task] if task else []
        db = await self._ready()
        found: list[Task] = []
        for start in range(0, len(task_ids), KEYS_A_FIND):
            some = await _found(db.tasks, task_ids[start : start + KEYS_A_FIND])
            found += map(Task.from_document, some.values())
        return found

    async def list_keyed(self, owner: str, keys: Sequence[str]) -> list[Task]:
        """Return the owner's tasks with these idempotency keys."""
        db = await self._ready()

        async def find(key: str) -> Document | None:
            return await _answered(db.tasks.find_one({"owner": owner, "idempotency_key": key}))

        found = await gather_limited(find, keys, limit=CONCURRENT_FINDS)
        return [Task.from_document(document) for document in found if document]

    async def list_tasks(self, owner: str, *, before: TaskCursor | None, limit: int) -> list[Task]:
        """Return a page of the owner's tasks, newest first."""
        db = await self._ready()
        # With a cursor, two queries that each use an index, as in `list_owners`.
        which: list[Document] = [{}]
        if before is not None:
            same = {"created_at": before.created_at, "_id": {"$lt": before.task_id}}
            which = [same, {"created_at": {"$lt": before.created_at}}]
        found: list[Document] = []
        for each in which:
            if left := limit - len(found):
                cursor = db.tasks.find({"owner": owner, **each})
                cursor = cursor.sort([("created_at", DESCENDING), ("_id", DESCENDING)]).limit(left)
                found += await _answered(cursor.to_list(left))
        return [Task.from_document(document) for document in found]

    async def end_task(self, task_id: str, ending: Ending) -> Task:
        """Write the ending unless there is one; return the task as it is now."""
        db = await self._ready()
        await _answered(
            db.tasks.update_one({"_id": task_id, "live": True}, {"$set": _ended(ending)})
        )
        found = await _answered(db.tasks.find_one({"_id": task_id}))
        if found is None:
            raise errors.UnknownTask(task_id=task_id)
        return Task.from_document(found)

    async def end_tasks(self, number: int, *, up_to_round: int, ending: Ending) -> None:
        """End the live tasks of a number."""
        which = {"key": str(int(number)), "live": True, "round": {"$lte": up_to_round}}
        await self._end_tasks(UpdateMany(which, {"$set": _ended(ending)}))

    async def _end_all(self, updates: Sequence[UpdateMany]) -> list[None]:
        db = await self._ready()
        await _answered(db.tasks.bulk_write(list(updates), ordered=False))
        return [None] * len(updates)

    async def is_wanted(self, number: int) -> bool:
        """Return whether a live task asks for the number, or an active factorization waits for it."""
        db = await self._ready()
        key = str(int(number))
        if await _answered(db.tasks.find_one({"key": key, "live": True}, {"_id": 1})):
            return True
        which = {"waits_for": key, "active": True}
        return await _answered(db.factorizations.find_one(which, {"_id": 1})) is not None

    async def list_wanted(self, numbers: Sequence[int]) -> set[int]:
        """Return those of the numbers that are wanted."""
        db = await self._ready()
        keys = [str(int(number)) for number in numbers]
        live = {"key": {"$in": keys}, "live": True}
        waiting = {"waits_for": {"$in": keys}, "active": True}
        wanted = [
            *await _answered(db.tasks.distinct("key", live)),
            *await _answered(db.factorizations.distinct("waits_for", waiting)),
        ]
        return {int(key) for key in {*wanted} & {*keys}}

    async def mark_joined(self, task_ids: Sequence[str]) -> None:
        """Record that the tasks have joined their factorizations."""
        await self._mark_joined(task_ids)

    async def _mark_all_joined(self, groups: Sequence[Sequence[str]]) -> list[None]:
        db = await self._ready()
        which = {"_id": {"$in": [task_id for group in groups for task_id in group]}}
        joined = {"$set": {"joined": True, "unjoined": False}}
        await _answered(db.tasks.update_many(which, joined))
        return [None] * len(groups)

    async def list_begun(self, *, after: int | None, limit: int) -> list[int]:
        """Return the numbers that live joined tasks ask for, by key."""
        db = await self._ready()
        which: Document = {"live": True, "joined": True}
        if after is not None:
            which["key"] = {"$gt": str(int(after))}
        cursor = db.tasks.find(which, {"_id": 0, "key": 1}).sort("key", ASCENDING).limit(limit)
        found = await _answered(cursor.to_list(limit))
        return [int(key) for key in dict.fromkeys(document["key"] for document in found)]

    async def count_live(
        self, owner: str, *, lane: Lane | None = None, joined: bool | None = None, limit: int
    ) -> int:
        """Count the owner's live tasks, up to the limit."""
        db = await self._ready()
        which: Document = {"owner": owner, "live": True}
        if lane is not None:
            which["lane"] = lane.value
        if joined is not None:
            which["joined"] = joined
        return await _answered(db.tasks.count_documents(which, limit=limit)) if limit > 0 else 0

    async def list_waiting_owners(self) -> list[str]:
        """Return the owners who have unjoined tasks, from the index by owner."""
        db = await self._ready()
        return sorted(await _answered(db.tasks.distinct("owner", {"unjoined": True})))

    async def list_queues(
        self, owners: Sequence[str], *, created_before: float
    ) -> list[tuple[str, Lane]]:
        """Return those of the owners, with the lane, who have unjoined tasks."""
        db = await self._ready()
        queues = [(owner, lane) for owner in owners for lane in Lane]

        async def waits(queue: tuple[str, Lane]) -> bool:
            which = _unjoined(*queue, created_before)
            return await _answered(db.tasks.find_one(which, {"_id": 1})) is not None

        waiting = await gather_limited(waits, queues, limit=CONCURRENT_FINDS)
        return [queue for queue, is_waiting in zip(queues, waiting, strict=True) if is_waiting]

    async def list_unjoined(
        self, owner: str, lane: Lane, *, created_before: float, limit: int
    ) -> list[Task]:
        """Return unjoined live tasks of a queue, oldest first."""
        db = await self._ready()
        cursor = db.tasks.find(_unjoined(owner, lane, created_before))
        found = await _answered(cursor.sort("created_at", ASCENDING).limit(limit).to_list(limit))
        return [Task.from_document(document) for document in found]

    async def list_owners(self, numbers: Sequence[int], *, since: float) -> dict[int, set[str]]:
        """Return the owners of tasks that are live or ended after ``since``."""
        db = await self._ready()
        keys = [str(int(number)) for number in numbers]
        # Two queries that each use an index: not every server plans the parts of an `$or` separately. They
        # run in this order so that a task that ends between them is found.
        found: dict[int, set[str]] = {int(number): set() for number in numbers}
        for which in ({"live": True}, {"ended.at": {"$gt": since}}):
            # Only what differs comes over the wire: one number may have 50 000 tasks.
            pairs: list[Document] = [
                {"$match": {"key": {"$in": keys}, **which}},
                {"$group": {"_id": {"key": "$key", "owner": "$owner"}}},
            ]
            for document in await _answered(db.tasks.aggregate(pairs).to_list(None)):
                found[int(document["_id"]["key"])].add(document["_id"]["owner"])
        return found

    # --- factorizations ---

    async def get_factorization(self, number: int) -> Factorization | None:
        """Return what is known of a number."""
        return await self._find_factorization(number)

    async def _find_factorizations(self, numbers: Sequence[int]) -> list[Factorization | None]:
        db = await self._ready()
        keys = [str(int(number)) for number in numbers]
        found = await _found(db.factorizations, keys)
        return [Factorization.from_document(found[key]) if key in found else None for key in keys]

    async def list_versions(self, numbers: Sequence[int]) -> list[int]:
        """Return the version of each number's factorization."""
        db = await self._ready()
        keys = [str(int(number)) for number in numbers]
        found: dict[str, Document] = {}
        for start in range(0, len(keys), KEYS_A_FIND):
            some = keys[start : start + KEYS_A_FIND]
            found |= await _found(db.factorizations, some, fields={"version": 1})
        return [found[key]["version"] if key in found else 0 for key in keys]

    async def list_ended(self, numbers: Sequence[int]) -> list[Factorization]:
        """Return the factorizations of those of the numbers whose work has ended."""
        db = await self._ready()
        keys = [str(int(number)) for number in numbers]
        cursor = db.factorizations.find({"_id": {"$in": keys}, "ended": {"$ne": None}})
        found = await _answered(cursor.to_list(None))
        return [Factorization.from_document(document) for document in found]

    async def create_factorization(self, factorization: Factorization) -> Factorization:
        """Insert it unless there is one of its number; return the one that is stored now."""
        return await self._create_factorization(factorization)

    async def _create_factorizations(self, new: Sequence[Factorization]) -> list[Factorization]:
        db = await self._ready()
        stored = list(new)
        documents = [_factorization_document(one) for one in new]
        try:
            await _answered(db.factorizations.insert_many(documents, ordered=False))
        except _Duplicates as error:
            numbers = [new[index].number for index in error.indexes]
            known = await self._find_factorizations(numbers)
            for index, there in zip(error.indexes, known, strict=True):
                if there is None:
                    raise errors.StoreUnavailable(
                        "a factorization that existed a moment ago is gone"
                    ) from None
                stored[index] = there
        return stored

    async def swap_factorization(self, new: Factorization) -> bool:
        """Replace the version before ``new``."""
        db = await self._ready()
        document = _factorization_document(new)
        which: Document = {"_id": document["_id"], "version": new.version - 1}
        if new.carried:
            which["outbox"] = {"$all": list(new.carried)}
        done = await _answered(db.factorizations.replace_one(which, document))
        return int(done.modified_count) == 1

    async def clear_outbox(self, number: int, unit_ids: Sequence[str]) -> None:
        """Take published units out of the outbox."""
        await self._clear_outbox((str(int(number)), list(unit_ids)))

    async def _clear_outboxes(self, published: Sequence[tuple[str, list[str]]]) -> list[None]:
        db = await self._ready()
        # Nearly always the whole outbox was published, which takes one write.
        emptied = {"$set": {"outbox": [], "unpublished": False}}
        whole = [UpdateOne({"_id": key, "outbox": units}, emptied) for key, units in published]
        done = await _answered(db.factorizations.bulk_write(whole, ordered=False))
        if done.modified_count < len(published):
            published_all = {"$set": {"unpublished": False}}
            parts = [
                part
                for key, units in published
                for part in (
                    UpdateOne({"_id": key}, {"$pull": {"outbox": {"$in": units}}}),
                    UpdateOne({"_id": key, "outbox": {"$size": 0}}, published_all),
                )
            ]
            await _answered(db.factorizations.bulk_write(parts, ordered=True))
        return [None] * len(published)

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
        db = await self._ready()
        query: Document = {"waits_for": str(int(number)), "active": True}
        if after is not None:
            query["number"] = {"$gt": str(int(after))}
        cursor = db.factorizations.find(query).sort("number", ASCENDING).limit(limit)
        found = await _answered(cursor.to_list(limit))
        return [Factorization.from_document(document) for document in found]

    async def _list_factorizations(
        self,
        which: str,
        touched_before: float,
        after: int | None,
        limit: int,
        shards: Collection[int],
    ) -> list[Factorization]:
        db = await self._ready()
        # Earlier versions wrote no shard; what they wrote is found with the first.
        wanted = [*shards, *([None] if 0 in shards else [])]
        query: Document = {which: True, "shard": {"$in": wanted}}
        query["touched_at"] = {"$lt": touched_before}
        if after is not None:
            query["number"] = {"$gt": str(int(after))}
        cursor = db.factorizations.find(query).sort("number", ASCENDING).limit(limit)
        found = await _answered(cursor.to_list(limit))
        return [Factorization.from_document(document) for document in found]

    # --- outcomes ---

    async def insert_outcome(self, number: int, outcome: Outcome) -> None:
        """Store the first outcome of a unit."""
        await self._insert_outcome({**outcome.to_document(), "number": str(int(number))})

    async def _insert_outcomes(self, documents: Sequence[Document]) -> list[None]:
        db = await self._ready()
        with contextlib.suppress(_Duplicates):
            await _answered(db.outcomes.insert_many(documents, ordered=False))
        return [None] * len(documents)

    async def list_outcomes(self, number: int) -> list[Outcome]:
        """Return the outcomes of a number's units."""
        db = await self._ready()
        found = await _answered(db.outcomes.find({"number": str(int(number))}).to_list(None))
        return [Outcome.from_document(document) for document in found]

    async def delete_outcomes(self, number: int, unit_ids: Sequence[str]) -> None:
        """Delete outcomes."""
        db = await self._ready()
        which = {"number": str(int(number)), "unit_id": {"$in": list(unit_ids)}}
        await _answered(db.outcomes.delete_many(which))

    # --- relation batches ---

    async def insert_batch(self, number: int, unit_id: str, batch: bytes) -> None:
        """Store the first batch of a unit."""
        db = await self._ready()
        document = {"number": str(int(number)), "unit_id": unit_id, "batch": batch}
        try:
            await _answered(db.batches.insert_one(document))
        except _Duplicates:
            return

    async def iterate_batches(self, number: int) -> AsyncIterator[tuple[str, bytes]]:
        """Yield the batches of a number in the order of unit ids, reading a few at a time."""
        db = await self._ready()
        last = ""
        while True:
            query = {"number": str(int(number)), "unit_id": {"$gt": last}}
            cursor = db.batches.find(query).sort("unit_id", ASCENDING).limit(BATCHES_A_PAGE)
            page = await _answered(cursor.to_list(BATCHES_A_PAGE))
            for document in page:
                yield document["unit_id"], document["batch"]
                last = document["unit_id"]
            if len(page) < BATCHES_A_PAGE:
                return

    async def delete_batches(self, number: int) -> None:
        """Delete the batches of a number."""
        db = await self._ready()
        await _answered(db.batches.delete_many({"number": str(int(number))}))

    # --- workers ---

    async def heartbeat(self, status: WorkerStatus) -> None:
        """Store a worker's heartbeat."""
        db = await self._ready()
        which = {"_id": status.worker_id}
        await _answered(db.workers.replace_one(which, status.to_document(), upsert=True))

    async def remove_worker(self, worker_id: str) -> None:
        """Delete a worker."""
        db = await self._ready()
        await _answered(db.workers.delete_one({"_id": worker_id}))

    async def get_worker(self, worker_id: str) -> WorkerStatus | None:
        """Return a worker's last heartbeat."""
        db = await self._ready()
        found = await _answered(db.workers.find_one({"_id": worker_id}))
        return WorkerStatus.from_document(found) if found else None

    async def list_workers(self, *, seen_after: float) -> list[WorkerStatus]:
        """Return the workers whose heartbeat is newer than that, ordered by id."""
        db = await self._ready()
        cursor = db.workers.find({"seen_at": {"$gt": seen_after}}).sort("_id", ASCENDING)
        found = await _answered(cursor.to_list(None))
        return [WorkerStatus.from_document(document) for document in found]

    # --- API keys and what their owners have used ---

    async def insert_key(self, key: ApiKey) -> None:
        """Store a new key."""
        db = await self._ready()
        await _answered(db["keys"].insert_one({**key.to_document(), "_id": key.digest}))

    async def find_keys(self, digests: Sequence[str]) -> list[ApiKey]:
        """Return the keys with these digests."""
        db = await self._ready()
        cursor = db["keys"].find({"_id": {"$in": list(digests)}})
        return [ApiKey.from_document(found) for found in await _answered(cursor.to_list(None))]

    async def list_keys(self) -> list[ApiKey]:
        """Return all keys, oldest first."""
        db = await self._ready()
        cursor = db["keys"].find().sort([("created_at", ASCENDING), ("key_id", ASCENDING)])
        return [ApiKey.from_document(found) for found in await _answered(cursor.to_list(None))]

    async def revoke_key(self, key_id: str, at: float) -> ApiKey:
        """Revoke a key for good and return it."""
        db = await self._ready()
        good = {"key_id": key_id, "revoked_at": None}
        await _answered(db["keys"].update_one(good, {"$set": {"revoked_at": at}}))
        found = await _answered(db["keys"].find_one({"key_id": key_id}))
        if found is None:
            raise errors.UnknownKey(key_id=key_id)
        return ApiKey.from_document(found)

    async def get_account(self, owner: str) -> Account:
        """Return what an owner has used."""
        db = await self._ready()
        found = await _answered(db.accounts.find_one({"_id": owner}))
        return Account.from_document(found) if found else Account(owner=owner)

    async def swap_account(self, new: Account) -> bool:
        """Replace the version before ``new``."""
        db = await self._ready()
        document = {**new.to_document(), "_id": new.owner}
        if new.version == 1:
            try:
                await _answered(db.accounts.insert_one(document))
            except _Duplicates:
                return False
            return True
        which = {"_id": new.owner, "version": new.version - 1}
        done = await _answered(db.accounts.replace_one(which, document))
        return int(done.modified_count) == 1

    # --- the server ---

    async def _ready(self) -> "AsyncIOMotorDatabase[Document]":
        """Return the database once its indexes exist: without the unique ones there could be duplicates."""
        if not self._prepared:
            await self._prepare()
        return self._db

    async def _prepare(self) -> None:
        async with self._preparing:
            if self._prepared:
                return
            for collection, indexes in INDEXES.items():
                await _answered(self._db[collection].create_indexes(indexes))
            long_gone = {"seen_at": {"$lt": time.time() - FORGET_WORKERS_SECONDS}}
            await _answered(self._db.workers.delete_many(long_gone))
            laneless = {
                "unjoined": True,
                "lane": {"$exists": False},
            }  # written before there were lanes
            await _answered(self._db.tasks.update_many(laneless, {"$set": {"lane": "short"}}))
            await self._add_waits()
            self._prepared = True

    async def _add_waits(self) -> None:
        """Add what active factorizations wait for, which earlier versions did not write."""
        before = {"active": True, "waits_for": {"$exists": False}}
        for document in await _answered(self._db.factorizations.find(before).to_list(None)):
            known = Factorization.from_document(document)
            which = {"_id": document["_id"], "version": known.version}
            waits = {"waits_for": _factorization_document(known)["waits_for"]}
            await _answered(self._db.factorizations.update_one(which, {"$set": waits}))


class _Duplicates(Exception):
    """Some documents were there already; ``indexes`` are their places among those given."""

    def __init__(self, indexes: list[int]) -> None:
        self.indexes = indexes
        super().__init__()


async def _answered(call: Awaitable[Result]) -> Result:
    """Return what the server answers; turn its errors into those of the port."""
    try:
        return await call
    except DuplicateKeyError as error:
        raise _Duplicates([0]) from error
    except BulkWriteError as error:
        failures = (error.details or {}).get("writeErrors", [])
        if not failures or any(failure["code"] != _DUPLICATE for failure in failures):
            raise errors.StoreUnavailable(error) from error
        raise _Duplicates([failure["index"] for failure in failures]) from error
    except PyMongoError as error:
        raise errors.StoreUnavailable(error) from error


async def _found(
    collection: Any, keys: Sequence[str], *, fields: dict[str, int] | None = None
) -> dict[str, Document]:
    """Return the documents with these `_id`s, keyed by it, or only some fields of them."""
    # One reply holds them all; the server's own limit for the first one is 101 documents.
    cursor = collection.find({"_id": {"$in": list(keys)}}, fields).batch_size(len(keys) + 1)
    return {document["_id"]: document for document in await _answered(cursor.to_list(None))}


def _task_document(task: Task) -> Document:
    live = task.ended is None
    return {
        **task.to_document(),
        "_id": task.task_id,
        "key": str(int(task.key)),
        "lane": task.lane.value,
        "live": live,
        "unjoined": live and not task.joined,
    }


def _unjoined(owner: str, lane: Lane, created_before: float) -> Document:
    """Return the query for the unjoined tasks of an owner's lane."""
    queue = {"owner": owner, "lane": str(lane), "unjoined": True}
    return {**queue, "created_at": {"$lt": created_before}}


def _ended(ending: Ending) -> Document:
    return {"ended": msgspec.to_builtins(ending), "live": False, "unjoined": False}


def _factorization_document(known: Factorization) -> Document:
    return {
        **known.to_document(),
        "_id": str(int(known.number)),
        "active": known.active,
        "unpublished": bool(known.outbox),
        "shard": shard_of(known.number),
        "waits_for": [str(int(number)) for number in known.waits_for],
    }
