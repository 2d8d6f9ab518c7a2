"""What is known of numbers, in MongoDB."""

from collections.abc import Collection, Sequence

from pymongo import ASCENDING, UpdateOne

from common import errors
from common.domain import ALL_SHARDS, Factorization, shard_of
from common.store import DEFAULT_RETENTION, Retention
from common.store.mongo.server import (
    KEYS_A_FIND,
    Document,
    Duplicates,
    Server,
    answered,
    batched,
    find_by_id,
)


class Factorizations(Server):
    """The verbs of the port that are about factorizations."""

    def __init__(
        self, uri: str, *, name: str = "factorline", keep: Retention = DEFAULT_RETENTION
    ) -> None:
        super().__init__(uri, name=name, keep=keep)
        self._find_factorization = batched(self._find_factorizations)
        self._create_factorization = batched(self._create_factorizations)
        self._clear_outbox = batched(self._clear_outboxes)

    async def get_factorization(self, number: int) -> Factorization | None:
        """Return what is known of a number."""
        return await self._find_factorization(number)

    async def _find_factorizations(self, numbers: Sequence[int]) -> list[Factorization | None]:
        db = await self._ready()
        keys = [str(int(number)) for number in numbers]
        found = await find_by_id(db.factorizations, keys)
        return [Factorization.from_document(found[key]) if key in found else None for key in keys]

    async def list_versions(self, numbers: Sequence[int]) -> list[int]:
        """Return the version of each number's factorization."""
        db = await self._ready()
        keys = [str(int(number)) for number in numbers]
        found: dict[str, Document] = {}
        for start in range(0, len(keys), KEYS_A_FIND):
            some = keys[start : start + KEYS_A_FIND]
            found |= await find_by_id(db.factorizations, some, fields={"version": 1})
        return [found[key]["version"] if key in found else 0 for key in keys]

    async def list_ended(self, numbers: Sequence[int]) -> list[Factorization]:
        """Return the factorizations of those of the numbers whose work has ended."""
        db = await self._ready()
        keys = [str(int(number)) for number in numbers]
        cursor = db.factorizations.find({"_id": {"$in": keys}, "ended": {"$ne": None}})
        found = await answered(cursor.to_list(None))
        return [Factorization.from_document(document) for document in found]

    async def create_factorization(self, factorization: Factorization) -> Factorization:
        """Insert it unless there is one of its number; return the one that is stored now."""
        return await self._create_factorization(factorization)

    async def _create_factorizations(self, new: Sequence[Factorization]) -> list[Factorization]:
        db = await self._ready()
        stored = list(new)
        documents = [_document(one) for one in new]
        try:
            await answered(db.factorizations.insert_many(documents, ordered=False))
        except Duplicates as error:
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
        document = _document(new)
        which: Document = {"_id": document["_id"], "version": new.version - 1}
        if new.carried:
            which["outbox"] = {"$all": list(new.carried)}
        done = await answered(db.factorizations.replace_one(which, document))
        return int(done.modified_count) == 1

    async def clear_outbox(self, number: int, unit_ids: Sequence[str]) -> None:
        """Take published units out of the outbox."""
        await self._clear_outbox((str(int(number)), list(unit_ids)))

    async def _clear_outboxes(self, published: Sequence[tuple[str, list[str]]]) -> list[None]:
        db = await self._ready()
        # Nearly always the whole outbox was published, which takes one write.
        emptied = {"$set": {"outbox": [], "unpublished": False}}
        whole = [UpdateOne({"_id": key, "outbox": units}, emptied) for key, units in published]
        done = await answered(db.factorizations.bulk_write(whole, ordered=False))
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
            await answered(db.factorizations.bulk_write(parts, ordered=True))
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
        found = await answered(cursor.to_list(limit))
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
        found = await answered(cursor.to_list(limit))
        return [Factorization.from_document(document) for document in found]


def _document(known: Factorization) -> Document:
    return {
        **known.to_document(),
        "_id": str(int(known.number)),
        "active": known.active,
        "unpublished": bool(known.outbox),
        "shard": shard_of(known.number),
        "waits_for": [str(int(number)) for number in known.waits_for],
    }
