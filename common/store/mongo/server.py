"""The connection to MongoDB and its errors; the only module that imports motor (docs/adr/0003)."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import pymongo
import structlog
from bson.errors import BSONError
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorDatabase
from pymongo.errors import BulkWriteError, ConfigurationError, OperationFailure, PyMongoError

from common import errors
from common.domain import Factorization
from common.runtime.clock import Clock, elapsed
from common.runtime.concurrency import Batcher
from common.runtime.metrics import CLOCK_SKEW
from common.store import DEFAULT_RETENTION, Retention, Size
from common.store.mongo.indexes import INDEXES

log = structlog.stdlib.get_logger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")
Document = dict[str, Any]

CALL_SECONDS: Final = 2.5
"""Limit of a call including its retries; that a client hears back within 3 seconds depends on it."""
POOL: Final = 50
DATABASE: Final = "factorline"
"""The database, unless the address names one."""
KEYS_A_FIND: Final = 2000
"""Tasks or versions that one `find` asks for: a few milliseconds of the event loop's time to decode."""
FORGET_WORKERS_SECONDS: Final = 86_400
UPGRADE_SECONDS: Final = 1.0
"""How long a program waits for indexes: on a new database they take a fraction of this."""
TIME_SECONDS: Final = 30.0
"""The server is asked for its time this often, by the call that comes next."""
COLLECTIONS: Final = (
    "tasks",
    "requests",
    "factorizations",
    "outcomes",
    "batches",
    "workers",
    "keys",
    "accounts",
)
_NO_COLLECTION: Final = 26
_DUPLICATE: Final = 11_000


def batched(
    call: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
) -> Batcher[Item, Result]:
    """Return a function of one argument whose calls become one command when they are made together.

    It is for the calls that every task makes. A command for many documents costs the server and us little
    more than one for a single document, and waits for the majority and the journal once.
    """
    return Batcher(call, max_items=32, max_calls=4, alone=Refused)


class Server:
    """A connection to MongoDB.

    Every write waits for a majority and for the journal, and what is read a majority has: it is not taken
    back when another server becomes the primary. If the server is down, calls fail but `open` does
    not: a gateway that starts without its store answers 503 until the store is there.
    """

    def __init__(
        self, uri: str, *, name: str = "factorline", keep: Retention = DEFAULT_RETENTION
    ) -> None:
        try:
            self._client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(
                uri,
                appname=name,
                w="majority",
                journal=True,
                readConcernLevel="majority",
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
        self.keep = keep
        self._clock = Clock()
        self._asked_for_time_at = -math.inf
        self._preparing = asyncio.Lock()
        self._upgrading: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Create the indexes if the server is there; otherwise the first call that reaches it does."""
        try:
            await self._prepare()
        except errors.StoreUnavailable:
            return

    async def migrate(self) -> None:
        """Make the indexes, and add to documents of earlier versions what they lack."""
        await self._ready()
        await self._upgrade()

    async def close(self) -> None:
        """Close every connection. Indexes that are being made, the server goes on to make."""
        if self._upgrading is not None:
            self._upgrading.cancel()
        self._client.close()

    async def ping(self) -> None:
        """Return if the server takes writes."""
        db = await self._ready()
        await answered(db.workers.delete_one({"_id": ""}))

    def now(self) -> float:
        """Return the server's time, as its last answers tell."""
        return self._clock.now()

    async def delete_expired(self) -> None:
        """Do nothing: the server removes each document at the time that is in it."""

    async def measure(self) -> list[Size]:
        """Return how large the collections are, by the server's statistics."""
        db = await self._ready()

        async def measure(name: str) -> Size:
            try:
                found = await db.command("collStats", name)
            except OperationFailure as error:
                if error.code != _NO_COLLECTION:  # nothing was stored in it yet
                    raise
                return Size(name, 0, 0)
            return Size(name, found["storageSize"] + found["totalIndexSize"], found["count"])

        return await asyncio.gather(*(answered(measure(name)) for name in COLLECTIONS))

    async def _ready(self) -> "AsyncIOMotorDatabase[Document]":
        """Return the database once it has been prepared."""
        if not self._prepared:
            await self._prepare()
        elif elapsed() - self._asked_for_time_at > TIME_SECONDS:
            await self._ask_for_time()
        return self._db

    async def _ask_for_time(self) -> None:
        asked_at = self._asked_for_time_at = elapsed()
        said = await answered(self._db.command("hello"))
        self._clock.learn(said["localTime"].timestamp(), asked_at=asked_at, answered_at=elapsed())
        CLOCK_SKEW.set(self._clock.skew)

    async def _prepare(self) -> None:
        async with self._preparing:
            if self._prepared:
                return
            await self._ask_for_time()
            long_gone = {"seen_at": {"$lt": self.now() - FORGET_WORKERS_SECONDS}}
            await answered(self._db.workers.delete_many(long_gone))
            await self._begin_upgrade()
            self._prepared = True

    async def _begin_upgrade(self) -> None:
        """Begin to upgrade the database, which takes minutes if it has millions of documents; go on soon.

        Until the indexes are there, queries are slow, and work that a unique one keeps out is done twice.
        """
        self._upgrading = asyncio.create_task(self._upgrade())
        self._upgrading.add_done_callback(_log_upgrade)
        done, _ = await asyncio.wait({self._upgrading}, timeout=UPGRADE_SECONDS)
        if done:
            await self._upgrading
        else:
            log.warning("Indexes are being made: until they are there, queries are slow")

    async def _upgrade(self) -> None:
        """Make the indexes that are missing, and add to documents of earlier versions what they lack."""
        with pymongo.timeout(None):  # the client's limit would have the server give up half-way
            for collection, indexes in INDEXES.items():
                await answered(self._db[collection].create_indexes(indexes))
            laneless = {"unjoined": True, "lane": {"$exists": False}}
            await answered(self._db.tasks.update_many(laneless, {"$set": {"lane": "short"}}))
            await self._add_waits()
            if self.keep.task_days:
                await answered(self._db.tasks.update_many(*_expiring(self.keep.task_days)))

    async def _add_waits(self) -> None:
        """Add what active factorizations wait for, which earlier versions did not write."""
        before = {"active": True, "waits_for": {"$exists": False}}
        for document in await answered(self._db.factorizations.find(before).to_list(None)):
            known = Factorization.from_document(document)
            which = {"_id": document["_id"], "version": known.version}
            waits = {"waits_for": [str(int(number)) for number in known.waits_for]}
            await answered(self._db.factorizations.update_one(which, {"$set": waits}))


def _expiring(days: float) -> tuple[Document, list[Document]]:
    """Return the update that gives ended tasks of earlier versions the time of their removal."""
    milliseconds = {"$multiply": [{"$add": ["$ended.at", 86_400 * days]}, 1000]}
    fields = {"expires_on": {"$toDate": {"$toLong": milliseconds}}}
    return {"expires_on": None, "live": False}, [{"$set": fields}]


def _log_upgrade(upgrading: asyncio.Task[None]) -> None:
    """Say why it failed after the program had gone on without it."""
    error = None if upgrading.cancelled() else upgrading.exception()
    if isinstance(error, errors.StoreUnavailable):
        log.warning("Upgrading failed: the next program that starts tries again", why=error.why)


class Duplicates(Exception):
    """Some documents were there already; ``indexes`` are their places among those given."""

    def __init__(self, indexes: list[int]) -> None:
        self.indexes = indexes
        super().__init__()


class Refused(errors.StoreUnavailable):
    """The server, or the driver, takes one of the documents that it was given for faulty."""


async def answered(call: Awaitable[Result]) -> Result:
    """Return what the server answers; turn its errors into those of the port.

    Single documents with unique fields are inserted by `insert_many` too: `insert_one` would hide behind a
    duplicate that no majority has what is stored.
    """
    try:
        return await call
    except BulkWriteError as error:
        details = error.details or {}
        failures = details.get("writeErrors", [])
        if unsure := details.get("writeConcernErrors", []):
            raise errors.StoreUnavailable(_reasons(unsure)) from error
        if not failures or any(failure["code"] != _DUPLICATE for failure in failures):
            raise Refused(_reasons(failures)) from error
        raise Duplicates([failure["index"] for failure in failures]) from error
    except BSONError as error:
        raise Refused(type(error).__name__) from error
    except PyMongoError as error:
        raise errors.StoreUnavailable(error) from error


def _reasons(failures: Sequence[Document]) -> str:
    """Return why writes failed, without the documents that the driver puts into its own message."""
    reasons = (f"{failure.get('code')} {failure.get('errmsg', '')}"[:200] for failure in failures)
    return "; ".join(dict.fromkeys(reasons)) or "a write failed"


def date(seconds: float) -> datetime:
    """Return a time as the server's own type, which its indexes for expiry need."""
    return datetime.fromtimestamp(seconds, UTC)


async def find_by_id(
    collection: Any, keys: Sequence[str], *, fields: dict[str, int] | None = None
) -> dict[str, Document]:
    """Return the documents with these `_id`s, keyed by it, or only some fields of them."""
    # One reply holds them all; the server's own limit for the first one is 101 documents.
    cursor = collection.find({"_id": {"$in": list(keys)}}, fields).batch_size(len(keys) + 1)
    return {document["_id"]: document for document in await answered(cursor.to_list(None))}
