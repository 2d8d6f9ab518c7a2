"""The tasks in MongoDB."""

from collections.abc import Sequence
from typing import Final

import msgspec
from pymongo import ASCENDING, DESCENDING, UpdateMany

from common import errors
from common.domain import BigInt, Ending, KeyedRequest, Lane, Task
from common.runtime.concurrency import gather_limited
from common.store import DEFAULT_RETENTION, Retention, TaskCursor
from common.store.mongo.server import (
    KEYS_A_FIND,
    Document,
    Duplicates,
    Server,
    answered,
    batched,
    date,
    find_by_id,
)

CONCURRENT_FINDS: Final = 32
"""Look-ups of one request that are in flight at a time."""


class Tasks(Server):
    """The verbs of the port that are about tasks."""

    def __init__(
        self, uri: str, *, name: str = "factorline", keep: Retention = DEFAULT_RETENTION
    ) -> None:
        super().__init__(uri, name=name, keep=keep)
        self._insert_task = batched(self._insert_tasks)
        self._find_task = batched(self._find_tasks)
        self._mark_joined = batched(self._mark_all_joined)
        self._end_tasks = batched(self._end_all)

    async def insert_tasks(self, tasks: Sequence[Task]) -> list[Task]:
        """Insert the tasks; return what is stored for each."""
        if len(tasks) == 1:
            return [await self._insert_task(tasks[0])]
        return await self._insert_tasks(tasks) if tasks else []

    async def _insert_tasks(self, tasks: Sequence[Task]) -> list[Task]:
        db = await self._ready()
        documents = [self._document(task) for task in tasks]
        taken: list[int] = []
        try:
            await answered(db.tasks.insert_many(documents, ordered=False))
        except Duplicates as error:
            taken = error.indexes
        stored = list(tasks)
        for index in taken:
            stored[index] = await self._stored_instead(tasks[index])
        return stored

    async def _stored_instead(self, task: Task) -> Task:
        stored = await self._find_task(task.task_id)
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
        found = await find_by_id(db.tasks, task_ids)
        return [Task.from_document(found[one]) if one in found else None for one in task_ids]

    async def get_tasks(self, task_ids: Sequence[str]) -> list[Task]:
        """Return those of the tasks that exist."""
        if len(task_ids) == 1:  # shares a command with whoever else looks for one
            task = await self._find_task(task_ids[0])
            return [task] if task else []
        db = await self._ready()
        found: list[Task] = []
        for start in range(0, len(task_ids), KEYS_A_FIND):
            some = await find_by_id(db.tasks, task_ids[start : start + KEYS_A_FIND])
            found += map(Task.from_document, some.values())
        return found

    async def list_keyed(self, owner: str, keys: Sequence[str]) -> list[Task]:
        """Return the owner's tasks with these keys of version 0.1."""
        db = await self._ready()

        async def find(key: str) -> Document | None:
            return await answered(db.tasks.find_one({"owner": owner, "idempotency_key": key}))

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
                found += await answered(cursor.to_list(left))
        return [Task.from_document(document) for document in found]

    async def end_task(self, task_id: str, ending: Ending) -> Task:
        """Write the ending unless there is one; return the task as it is now."""
        db = await self._ready()
        await answered(
            db.tasks.update_one({"_id": task_id, "live": True}, {"$set": self._ended(ending)})
        )
        found = await answered(db.tasks.find_one({"_id": task_id}))
        if found is None:
            raise errors.UnknownTask(task_id=task_id)
        return Task.from_document(found)

    async def end_tasks(self, number: int, *, up_to_round: int, ending: Ending) -> None:
        """End the live tasks of a number."""
        which = {"key": str(int(number)), "live": True, "round": {"$lte": up_to_round}}
        await self._end_tasks(UpdateMany(which, {"$set": self._ended(ending)}))

    async def _end_all(self, updates: Sequence[UpdateMany]) -> list[None]:
        db = await self._ready()
        await answered(db.tasks.bulk_write(list(updates), ordered=False))
        return [None] * len(updates)

    async def erase_tasks(
        self, owner: str, task_ids: Sequence[str] | None = None, *, limit: int
    ) -> int:
        """Delete tasks of the owner that have ended, oldest first."""
        db = await self._ready()
        which: Document = {"owner": owner, "ended.at": {"$gt": 0}}
        if task_ids is not None:
            which["_id"] = {"$in": list(task_ids)}
        oldest = db.tasks.find(which, {"_id": 1})
        oldest = oldest.sort([("created_at", ASCENDING), ("_id", ASCENDING)]).limit(limit)
        found = [document["_id"] for document in await answered(oldest.to_list(limit))]
        done = await answered(db.tasks.delete_many({**which, "_id": {"$in": found}}))
        return int(done.deleted_count)

    async def is_wanted(self, number: int) -> bool:
        """Return whether a live task asks for the number, or an active factorization waits for it."""
        db = await self._ready()
        key = str(int(number))
        if await answered(db.tasks.find_one({"key": key, "live": True}, {"_id": 1})):
            return True
        which = {"waits_for": key, "active": True}
        return await answered(db.factorizations.find_one(which, {"_id": 1})) is not None

    async def list_wanted(self, numbers: Sequence[int]) -> list[bool]:
        """Return whether each of the numbers is wanted."""
        db = await self._ready()
        keys = [str(int(number)) for number in numbers]
        live = {"key": {"$in": keys}, "live": True}
        waiting = {"waits_for": {"$in": keys}, "active": True}
        wanted = {
            *await answered(db.tasks.distinct("key", live)),
            *await answered(db.factorizations.distinct("waits_for", waiting)),
        }
        return [key in wanted for key in keys]

    async def mark_joined(self, task_ids: Sequence[str]) -> None:
        """Record that the tasks have joined their factorizations."""
        await self._mark_joined(task_ids)

    async def _mark_all_joined(self, groups: Sequence[Sequence[str]]) -> list[None]:
        db = await self._ready()
        which = {"_id": {"$in": [task_id for group in groups for task_id in group]}}
        joined = {"$set": {"joined": True, "unjoined": False}}
        await answered(db.tasks.update_many(which, joined))
        return [None] * len(groups)

    async def list_begun(self, *, after: int | None, limit: int) -> list[int]:
        """Return the numbers that live joined tasks ask for, by key."""
        db = await self._ready()
        which: Document = {"live": True, "joined": True}
        if after is not None:
            which["key"] = {"$gt": str(int(after))}
        cursor = db.tasks.find(which, {"_id": 0, "key": 1}).sort("key", ASCENDING).limit(limit)
        found = await answered(cursor.to_list(limit))
        return [BigInt(key) for key in dict.fromkeys(document["key"] for document in found)]

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
        return await answered(db.tasks.count_documents(which, limit=limit)) if limit > 0 else 0

    async def list_waiting_owners(self) -> list[str]:
        """Return the owners who have unjoined tasks, from the index by owner."""
        db = await self._ready()
        return sorted(await answered(db.tasks.distinct("owner", {"unjoined": True})))

    async def list_queues(
        self, owners: Sequence[str], *, created_before: float
    ) -> list[tuple[str, Lane]]:
        """Return those of the owners, with the lane, who have unjoined tasks."""
        db = await self._ready()
        queues = [(owner, lane) for owner in owners for lane in Lane]

        async def waits(queue: tuple[str, Lane]) -> bool:
            which = _unjoined(*queue, created_before)
            return await answered(db.tasks.find_one(which, {"_id": 1})) is not None

        waiting = await gather_limited(waits, queues, limit=CONCURRENT_FINDS)
        return [queue for queue, is_waiting in zip(queues, waiting, strict=True) if is_waiting]

    async def list_unjoined(
        self, owner: str, lane: Lane, *, created_before: float, limit: int
    ) -> list[Task]:
        """Return unjoined live tasks of a queue, oldest first."""
        db = await self._ready()
        cursor = db.tasks.find(_unjoined(owner, lane, created_before))
        found = await answered(cursor.sort("created_at", ASCENDING).limit(limit).to_list(limit))
        return [Task.from_document(document) for document in found]

    async def list_owners(self, numbers: Sequence[int], *, since: float) -> list[set[str]]:
        """Return the owners of tasks that are live or ended after ``since``."""
        db = await self._ready()
        keys = [str(int(number)) for number in numbers]
        # Two queries that each use an index: not every server plans the parts of an `$or` separately. They
        # run in this order so that a task that ends between them is found.
        found: dict[str, set[str]] = {key: set() for key in keys}
        for which in ({"live": True}, {"ended.at": {"$gt": since}}):
            # Only what differs comes over the wire: one number may have 50 000 tasks.
            pairs: list[Document] = [
                {"$match": {"key": {"$in": keys}, **which}},
                {"$group": {"_id": {"key": "$key", "owner": "$owner"}}},
            ]
            for document in await answered(db.tasks.aggregate(pairs).to_list(None)):
                found[document["_id"]["key"]].add(document["_id"]["owner"])
        return [found[key] for key in keys]

    # --- requests that came with an Idempotency-Key ---

    async def insert_request(self, request: KeyedRequest) -> KeyedRequest:
        """Store a request unless it is there; return the one that is stored now."""
        db = await self._ready()
        expires_at = request.made_at + 3600 * self.keep.key_hours
        document = {
            **request.to_document(),
            "_id": request.request_id,
            "expires_on": date(expires_at),
        }
        while True:
            try:
                await answered(db.requests.insert_many([document]))
            except Duplicates:
                if stored := await self.get_request(request.request_id):
                    return stored
                # It has expired, and the server, which looks once a minute, has not removed it yet.
                expired = {"_id": request.request_id, "expires_on": {"$lte": date(self.now())}}
                await answered(db.requests.delete_one(expired))
            else:
                return request

    async def get_request(self, request_id: str) -> KeyedRequest | None:
        """Return a request that has not expired."""
        db = await self._ready()
        kept = {"_id": request_id, "expires_on": {"$gt": date(self.now())}}
        found = await answered(db.requests.find_one(kept))
        return KeyedRequest.from_document(found) if found else None

    # --- documents ---

    def _document(self, task: Task) -> Document:
        return {
            **task.to_document(),
            "_id": task.task_id,
            "key": str(int(task.key)),
            "lane": task.lane.value,
            "live": task.ended is None,
            "unjoined": task.ended is None and not task.joined,
            **({} if task.ended is None else self._ended(task.ended)),
        }

    def _ended(self, ending: Ending) -> Document:
        """Return the fields of a task that change when it ends."""
        fields = {"ended": msgspec.to_builtins(ending), "live": False, "unjoined": False}
        if self.keep.task_days:
            fields["expires_on"] = date(ending.at + 86_400 * self.keep.task_days)
        return fields


def _unjoined(owner: str, lane: Lane, created_before: float) -> Document:
    """Return the query for the unjoined tasks of an owner's lane."""
    queue = {"owner": owner, "lane": str(lane), "unjoined": True}
    return {**queue, "created_at": {"$lt": created_before}}
