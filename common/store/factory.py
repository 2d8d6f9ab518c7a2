"""Opens the store that the settings name: MongoDB if its address is set, else SQLite in one file."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from common.runtime.settings import Settings
from common.store import Retention, Store
from common.store.sqlite import SqliteStore


@contextlib.asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[Store]:
    """Yield the store that the settings name, open; close it afterwards."""
    store = _new_store(settings)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def sqlite_path(settings: Settings) -> Path:
    """Return where SQLite's file is, or would be."""
    return Path(settings.data) / "factorline.sqlite3"


def _new_store(settings: Settings) -> Store:
    keep = Retention(
        key_hours=settings.keep_keys_hours,
        task_days=settings.keep_tasks_days,
        relation_days=settings.keep_relations_days,
    )
    if not settings.mongodb_uri:
        return SqliteStore(sqlite_path(settings), keep=keep)
    from common.store.mongo import MongoStore  # noqa: PLC0415 embedded mode starts without it

    return MongoStore(settings.mongodb_uri, name=settings.name or "factorline", keep=keep)
