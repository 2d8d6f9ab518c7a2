"""What the SQLite store keeps in memory is always what was committed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from msgspec.structs import replace

from common import errors
from common.domain import Ending, KeyedRequest, Status, Task, factorizations
from common.lifecycle import new_task
from common.store import Retention
from common.store.sqlite import SqliteStore, transaction

NUMBER = 10**29 + 319


def task() -> Task:
    """Return a new task."""
    return new_task(NUMBER, str(NUMBER), "ann", at=1.7e9)


@pytest.fixture
async def other(sqlite_store: SqliteStore, tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """Yield a second store on the file of the first one, as another process has it."""
    assert isinstance(sqlite_store, SqliteStore)
    store = SqliteStore(tmp_path / "x.sqlite3")
    await store.open()
    yield store
    await store.close()


async def test_what_another_process_swaps_in_is_seen(
    sqlite_store: SqliteStore, other: SqliteStore
) -> None:
    """A swap of a version that is no longer there fails at once; after it the new one is read."""
    first = await sqlite_store.create_factorization(factorizations.begin(NUMBER, 1.0))
    theirs = first.touched(2.0)
    assert await other.swap_factorization(theirs)

    assert not await sqlite_store.swap_factorization(first.touched(3.0))
    assert theirs == await sqlite_store.get_factorization(NUMBER)


async def test_a_task_that_another_process_ended_is_seen_after_any_write(
    sqlite_store: SqliteStore, other: SqliteStore
) -> None:
    """A heartbeat comes every few seconds."""
    [stored] = await sqlite_store.insert_tasks([task()])
    ended = await other.end_task(stored.task_id, Ending(status=Status.CANCELLED, at=2.0))
    await sqlite_store.ping()

    assert ended == await sqlite_store.get_task(stored.task_id, "ann")


async def test_what_was_undone_is_not_remembered(sqlite_store: SqliteStore) -> None:
    """A call that raises leaves nothing behind, and those that shared its transaction stand."""
    good, undone, neighbour = task(), task(), task()
    bad = replace(task(), owner=cast("str", object()))  # it cannot be written
    results = await asyncio.gather(
        sqlite_store.insert_tasks([good]),
        sqlite_store.insert_tasks([undone, bad]),
        sqlite_store.insert_tasks([neighbour]),
        return_exceptions=True,
    )

    assert [NotImplementedError] == [
        type(result) for result in results if isinstance(result, BaseException)
    ]
    assert [good, neighbour] == [
        await sqlite_store.get_task(each.task_id, "ann") for each in (good, neighbour)
    ]
    with pytest.raises(errors.UnknownTask):
        await sqlite_store.get_task(undone.task_id, "ann")


async def test_a_write_sees_those_before_it_in_its_transaction(sqlite_store: SqliteStore) -> None:
    """Two that swap the same version at once: one wins, and a task that ends at once ends once."""
    first, _ = await asyncio.gather(
        sqlite_store.create_factorization(factorizations.begin(NUMBER, 1.0)),
        sqlite_store.ping(),
    )
    won = await asyncio.gather(
        *(sqlite_store.swap_factorization(first.touched(at)) for at in (2.0, 3.0))
    )

    assert [True, False] == won
    assert await sqlite_store.get_factorization(NUMBER) == first.touched(2.0)


async def test_memory_is_bounded(
    sqlite_store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has to make room is read from the file."""
    monkeypatch.setattr(transaction, "MOST_RECENT", 10)
    tasks = await sqlite_store.insert_tasks([task() for _ in range(100)])

    kept = sqlite_store._memory.tasks  # noqa: SLF001 that is what this is about
    assert [each.task_id for each in tasks[-10:]] == [
        each.task_id for each in tasks if kept.get(each.task_id)
    ]
    assert tasks == [await sqlite_store.get_task(each.task_id, "ann") for each in tasks]


async def test_a_closed_store_answers_nothing(sqlite_store: SqliteStore) -> None:
    """Not even what it had in memory."""
    [stored] = await sqlite_store.insert_tasks([task()])
    await sqlite_store.close()

    with pytest.raises(errors.StoreUnavailable):
        await sqlite_store.get_task(stored.task_id, "ann")


async def test_what_is_kept_no_longer_is_deleted(tmp_path: Path) -> None:
    """Ended tasks by the time when they ended; live ones, and what is known of numbers, stay."""
    store = SqliteStore(tmp_path / "s.sqlite3", keep=Retention(task_days=10))
    await store.open()
    now, day = store.now(), 86_400
    tasks = [new_task(NUMBER, str(NUMBER), "ann", at=now - 99 * day) for _ in range(2003)]
    await store.insert_tasks(tasks)
    ended = [Ending(status=Status.SUCCEEDED, at=now - days * day) for days in (9, 11)]
    await store.end_task(tasks[0].task_id, ended[0])
    for task in tasks[2:]:
        await store.end_task(task.task_id, ended[1])
    await store.create_factorization(factorizations.begin(NUMBER, now - 99 * day))
    requests = [
        KeyedRequest(request_id=str(hours), digest="", task_ids=(), made_at=now - hours * 3600)
        for hours in (23, 25)
    ]
    for request in requests:
        await store.insert_request(request)

    await store.delete_expired()

    left = await store.get_tasks([task.task_id for task in tasks])
    assert {task.task_id for task in tasks[:2]} == {task.task_id for task in left}
    assert await store.get_factorization(NUMBER)
    assert requests[0] == await store.get_request("23")
    assert [(1,)] == await store._read(  # noqa: SLF001 what is stored is the point
        lambda db: db.execute("SELECT count(*) FROM requests").fetchall()
    )
    await store.close()


async def test_what_is_kept_for_ever_is_not_deleted(tmp_path: Path) -> None:
    """0 days are for ever."""
    store = SqliteStore(tmp_path / "s.sqlite3", keep=Retention(task_days=0))
    await store.open()
    [task] = await store.insert_tasks([new_task(NUMBER, "", "ann", at=1.0)])
    await store.end_task(task.task_id, Ending(status=Status.SUCCEEDED, at=2.0))

    await store.delete_expired()

    assert 1 == len(await store.get_tasks([task.task_id]))
    await store.close()
