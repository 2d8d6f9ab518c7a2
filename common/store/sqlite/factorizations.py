"""What is known of numbers, in SQLite."""

import sqlite3
from collections.abc import Collection, Sequence

import msgspec

from common.domain import ALL_SHARDS, Factorization, key_of
from common.store.sqlite.file import File, rows_of
from common.store.sqlite.transaction import Transaction, find_factorization


class Factorizations(File):
    """The verbs of the port that are about factorizations."""

    async def get_factorization(self, number: int) -> Factorization | None:
        """Return what is known of a number."""
        known = self._memory.factorizations.get(key_of(number))
        return known or self._look_up(lambda db: find_factorization(db, number))

    async def list_versions(self, numbers: Sequence[int]) -> list[int]:
        """Return the version of each number's factorization."""
        keys = [str(int(number)) for number in numbers]
        query = "SELECT number, version FROM factorizations WHERE number IN"
        found = dict(await self._read(lambda db: rows_of(db, query, keys)))
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


def _in_shards(shards: Collection[int]) -> str:
    """Return the condition for numbers of these shards, which most often are all."""
    if {*shards} >= ALL_SHARDS:
        return ""
    return f"AND shard_of(number) IN ({', '.join(str(int(shard)) for shard in shards)})"
