"""Which store a program works with: MongoDB if its address is set, else SQLite in one file."""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator
from pathlib import Path

from common import errors
from common.settings import Settings
from common.store import Store

log = logging.getLogger(__name__)

LONGEST_PAUSE_SECONDS = 5.0


@contextlib.asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[Store]:
    """Yield the open store that the settings name, waiting for it if need be; close it afterwards."""
    store = _choose(settings)
    try:
        await _open_patiently(store)
        yield store
    finally:
        await store.close()


def _choose(settings: Settings) -> Store:
    if settings.mongodb_uri:
        from common.store.mongo import MongoStore  # noqa: PLC0415 embedded mode needs no motor

        return MongoStore(settings.mongodb_uri, appname=settings.name)
    from common.store.sqlite import SqliteStore  # noqa: PLC0415 the same the other way round

    return SqliteStore(Path(settings.data) / "factorline.sqlite3")


async def _open_patiently(store: Store) -> None:
    pause = 0.2
    while True:
        try:
            return await store.open()
        except errors.StoreUnavailable as error:
            log.warning("%s", error)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 jitter
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
