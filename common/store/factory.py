"""Which store a program works with: only SQLite is there so far."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from common import errors
from common.settings import Settings
from common.store import Store
from common.store.sqlite import SqliteStore


@contextlib.asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[Store]:
    """Yield the open store that the settings name; close it afterwards."""
    if settings.mongodb_uri:
        raise errors.SettingError(
            name="FACTORLINE_MONGODB_URI",
            value="…",
            why="this version has no MongoDB side yet: unset it and use `make run`",
        )
    store = SqliteStore(Path(settings.data) / "factorline.sqlite3")
    await store.open()
    try:
        yield store
    finally:
        await store.close()
