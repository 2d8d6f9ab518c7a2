"""What only a server can do: it has a clock of its own, and answers that are neither yes nor no."""

import asyncio
import time
from typing import Any

import pytest
from motor.motor_asyncio import AsyncIOMotorCollection
from pymongo import _csot
from pymongo.errors import BulkWriteError, PyMongoError
from structlog.testing import capture_logs

from common import errors
from common.domain import Ending, Status
from common.lifecycle import new_task
from common.runtime.settings import Settings
from common.store.mongo import MongoStore, server
from common.store.mongo.server import date
from tests import waiting
from tests.contract.conftest import opened_mongo

DUPLICATE = {"index": 0, "code": 11000, "errmsg": "E11000 duplicate key"}
NO_MAJORITY = {"code": 64, "errmsg": "waiting for replication timed out"}


async def test_machines_whose_clocks_differ_have_the_same_time(
    mongodb_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the server's, and it is also what a machine's clock says if nobody has set it wrong."""
    true = time.time
    async with opened_mongo(mongodb_uri) as right:
        monkeypatch.setattr(time, "time", lambda: true() + 3600)
        async with opened_mongo(mongodb_uri) as hour_ahead:
            assert hour_ahead.now() == pytest.approx(right.now(), abs=1)
            assert hour_ahead.now() == pytest.approx(true(), abs=1)


async def test_a_duplicate_that_no_majority_has_is_not_taken_for_stored(
    mongo_store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that is repeated during a failover must not be answered with what may be rolled back."""
    tasks = [new_task(91, "91", "ann", at=1.7e9) for _ in range(2)]
    await mongo_store.insert_tasks(tasks)

    async def unsure(*_: object, **__: object) -> None:
        raise BulkWriteError({"writeErrors": [DUPLICATE], "writeConcernErrors": [NO_MAJORITY]})

    monkeypatch.setattr(AsyncIOMotorCollection, "insert_many", unsure)

    for again in (tasks, tasks[:1]):
        with pytest.raises(errors.StoreUnavailable):
            await mongo_store.insert_tasks(again)
    with pytest.raises(errors.StoreUnavailable):
        await mongo_store.insert_batch(91, "91-1", b"relations")


async def test_a_faulty_document_fails_alone(mongo_store: MongoStore) -> None:
    """Tasks of several owners are inserted by one command, and one of them is too large for any."""
    fine = [new_task(91, "91", "ann", at=1.7e9) for _ in range(40)]
    faulty = new_task(91, "9" * (17 << 20), "bob", at=1.7e9)
    inserts = [mongo_store.insert_tasks([task]) for task in (*fine[:20], faulty, *fine[20:])]

    results: list[Any] = await asyncio.gather(*inserts, return_exceptions=True)

    [refused] = [result for result in results if isinstance(result, Exception)]
    assert isinstance(refused, errors.StoreUnavailable)
    assert "bob" not in refused.why
    assert {task.task_id for task in fine} == {
        task.task_id for task in await mongo_store.get_tasks([task.task_id for task in fine])
    }


async def test_the_reason_of_a_failed_write_holds_no_document(
    mongo_store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver's own message does, and other owners' numbers and keys are in it."""
    refusal = {"index": 0, "code": 121, "errmsg": "Document failed validation"}

    async def failing(*_: object, **__: object) -> None:
        raise BulkWriteError({"writeErrors": [{**refusal, "op": {"owner": "bob"}}]})

    monkeypatch.setattr(AsyncIOMotorCollection, "insert_many", failing)
    with pytest.raises(errors.StoreUnavailable) as caught:
        await mongo_store.insert_tasks([new_task(91, "91", "bob", at=1.7e9)])

    assert "121 Document failed validation" == caught.value.why
    assert "bob" not in caught.value.for_operators


@pytest.mark.parametrize("option", ["readPreference=secondary", "w=1", "readConcernLevel=local"])
def test_what_is_promised_cannot_be_switched_off(option: str) -> None:
    """A read from a secondary may be out of date, and a write that one server has can be lost."""
    name = option.partition("=")[0]
    with pytest.raises(errors.SettingError, match=rf"FACTORLINE_MONGODB_URI.*{name}.*leave it out"):
        Settings.from_environ({"FACTORLINE_MONGODB_URI": f"mongodb://mongo.example/?{option}"})


async def test_the_server_is_told_when_to_remove_what(mongo_store: MongoStore) -> None:
    """Its own clock and its own thread do it; live tasks, and what is known of numbers, have no such time."""
    live, ended = await mongo_store.insert_tasks(
        [new_task(10**30 + n, "", "ann", at=1.7e9) for n in (57, 97)]
    )
    await mongo_store.end_task(ended.task_id, Ending(status=Status.SUCCEEDED, at=1.8e9))
    db = await mongo_store._ready()  # noqa: SLF001 what is stored is the point
    stored = {each["_id"]: each async for each in db.tasks.find()}

    assert "expires_on" not in stored[live.task_id]
    assert date(1.8e9 + 90 * 86_400) == stored[ended.task_id]["expires_on"]
    # An earlier version wrote no such time.
    await db.tasks.update_many({}, {"$unset": {"expires_on": ""}})
    mongo_store._prepared = False  # noqa: SLF001 as when a program starts
    await mongo_store.open()
    assert stored == {each["_id"]: each async for each in db.tasks.find()}
    for collection in (db.tasks, db.requests):
        assert 0 == (await collection.index_information())["expiry"]["expireAfterSeconds"]


async def test_a_program_works_while_indexes_are_made(
    mongodb_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upgrade that adds an index to millions of documents is no outage, and is not cut off either."""
    made, limits = asyncio.Event(), set[float | None]()

    async def create_slowly(*_: object) -> None:
        limits.add(_csot.get_timeout())
        await made.wait()

    monkeypatch.setattr(server, "UPGRADE_SECONDS", 0.1)
    monkeypatch.setattr(AsyncIOMotorCollection, "create_indexes", create_slowly)
    with capture_logs() as lines:
        async with opened_mongo(mongodb_uri) as store:
            task = new_task(91, "91", "ann", at=1.7e9)

            assert [task] == await store.insert_tasks([task])
            assert {None} == limits
            assert ["Indexes are being made: until they are there, queries are slow"] == [
                line["event"] for line in lines
            ]
            made.set()


async def test_why_indexes_could_not_be_made_is_logged(
    mongodb_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program goes on; if it fails at once, the first call says so and the next one tries again."""
    full = PyMongoError("no space left")

    async def fail_late(*_: object) -> None:
        await asyncio.sleep(0.2)
        raise full

    monkeypatch.setattr(server, "UPGRADE_SECONDS", 0.1)
    with monkeypatch.context() as patch, capture_logs() as lines:
        patch.setattr(AsyncIOMotorCollection, "create_indexes", fail_late)
        async with opened_mongo(mongodb_uri) as store:
            await store.ping()
            await waiting.until(lambda: len(lines) > 1, "the second line")
    assert ["no space left"] == [line["why"] for line in lines[1:]]


async def test_an_upgrade_that_fails_at_once_is_tried_again(
    mongodb_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server may be there again at the next call."""

    async def fail(*_: object) -> None:
        raise PyMongoError("not now")

    with monkeypatch.context() as patch:
        patch.setattr(AsyncIOMotorCollection, "create_indexes", fail)
        store = MongoStore(mongodb_uri)
        await store.open()
        with pytest.raises(errors.StoreUnavailable):
            await store.ping()
    await store.ping()
    await store.close()


async def test_migrating_waits_for_the_indexes(
    mongodb_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long that takes, and it may be repeated."""
    create = AsyncIOMotorCollection.create_indexes

    async def create_slowly(*args: Any) -> object:
        await asyncio.sleep(0.1)
        return await create(*args)

    monkeypatch.setattr(server, "UPGRADE_SECONDS", 0.05)
    monkeypatch.setattr(AsyncIOMotorCollection, "create_indexes", create_slowly)
    async with opened_mongo(mongodb_uri) as store:
        for _ in range(2):
            await store.migrate()
            made = await store._db.tasks.index_information()  # noqa: SLF001 what is there is the point

            assert {"newest", "wanted", "expiry"} <= set(made)
