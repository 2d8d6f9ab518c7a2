"""API keys, and what their owners have used, in MongoDB."""

from collections.abc import Sequence

from pymongo import ASCENDING

from common import errors
from common.domain import Account, ApiKey
from common.store.mongo.server import Duplicates, Server, answered


class Access(Server):
    """The verbs of the port that are about API keys and accounts."""

    async def insert_key(self, key: ApiKey) -> None:
        """Store a new key."""
        db = await self._ready()
        await answered(db["keys"].insert_many([{**key.to_document(), "_id": key.digest}]))

    async def find_keys(self, digests: Sequence[str]) -> list[ApiKey]:
        """Return the keys with these digests."""
        db = await self._ready()
        cursor = db["keys"].find({"_id": {"$in": list(digests)}})
        return [ApiKey.from_document(found) for found in await answered(cursor.to_list(None))]

    async def list_keys(self) -> list[ApiKey]:
        """Return all keys, oldest first."""
        db = await self._ready()
        cursor = db["keys"].find().sort([("created_at", ASCENDING), ("key_id", ASCENDING)])
        return [ApiKey.from_document(found) for found in await answered(cursor.to_list(None))]

    async def revoke_key(self, key_id: str, at: float, *, by: str = "") -> ApiKey:
        """Revoke a key for good and return it."""
        db = await self._ready()
        good = {"key_id": key_id, "revoked_at": None}
        await answered(db["keys"].update_one(good, {"$set": {"revoked_at": at, "revoked_by": by}}))
        found = await answered(db["keys"].find_one({"key_id": key_id}))
        if found is None:
            raise errors.UnknownKey(key_id=key_id)
        return ApiKey.from_document(found)

    async def mark_key_used(self, digest: str, at: float) -> bool:
        """Note when a key was last used."""
        db, after = await self._ready(), {"$set": {"last_used_at": at}}
        never = {"_id": digest, "last_used_at": None}
        done = await answered(db["keys"].update_one(never, after))
        if not done.modified_count:
            before = {"_id": digest, "last_used_at": {"$lt": at}}
            await answered(db["keys"].update_one(before, after))
        return bool(done.modified_count)

    async def get_account(self, owner: str) -> Account:
        """Return what an owner has used."""
        db = await self._ready()
        found = await answered(db.accounts.find_one({"_id": owner}))
        return Account.from_document(found) if found else Account(owner=owner)

    async def swap_account(self, new: Account) -> bool:
        """Replace the version before ``new``."""
        db = await self._ready()
        document = {**new.to_document(), "_id": new.owner}
        if new.version == 1:
            try:
                await answered(db.accounts.insert_many([document]))
            except Duplicates:
                return False
            return True
        which = {"_id": new.owner, "version": new.version - 1}
        done = await answered(db.accounts.replace_one(which, document))
        return int(done.modified_count) == 1
