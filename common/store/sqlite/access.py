"""API keys, and what their owners have used, in SQLite."""

import sqlite3
from collections.abc import Sequence

import msgspec

from common import errors
from common.domain import Account, ApiKey
from common.store.sqlite.file import File
from common.store.sqlite.transaction import Transaction


class Access(File):
    """The verbs of the port that are about API keys and accounts."""

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

    async def revoke_key(self, key_id: str, at: float, *, by: str = "") -> ApiKey:
        """Revoke a key for good and return it."""

        def revoke(transaction: Transaction) -> ApiKey:
            db = transaction.db
            row = db.execute("SELECT body FROM keys WHERE key_id = ?", (key_id,)).fetchone()
            if row is None:
                raise errors.UnknownKey(key_id=key_id)
            key = ApiKey.decode(row[0])
            if key.revoked_at is not None:
                return key
            return _put_key(db, msgspec.structs.replace(key, revoked_at=at, revoked_by=by))

        return await self._write(revoke)

    async def mark_key_used(self, digest: str, at: float) -> bool:
        """Note when a key was last used."""

        def mark(transaction: Transaction) -> bool:
            db = transaction.db
            row = db.execute("SELECT body FROM keys WHERE digest = ?", (digest,)).fetchone()
            key = ApiKey.decode(row[0]) if row else None
            if key is None or (key.last_used_at or 0.0) >= at:
                return False
            _put_key(db, msgspec.structs.replace(key, last_used_at=at))
            return key.last_used_at is None

        return await self._write(mark)

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


def _put_key(db: sqlite3.Connection, key: ApiKey) -> ApiKey:
    values = (key.digest, key.key_id, key.created_at, key.encode())
    db.execute("REPLACE INTO keys VALUES (?, ?, ?, ?)", values)
    return key
