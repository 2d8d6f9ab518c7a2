"""Every query to MongoDB uses an index: a scan would be noticed only once there are many tasks."""

import inspect
from typing import Any

import pytest
from msgspec.structs import replace
from pymongo import monitoring

from common.domain import Ending, KeyedRequest, Lane, Outcome, Status, accounts, factorizations
from common.lifecycle import new_task
from common.store import Store, TaskCursor
from common.store.mongo import INDEXES, MongoStore
from tests.contract.conftest import opened_mongo

Document = dict[str, Any]

SMALL = {"workers", "keys"}
"""A cluster has a few workers, and operators list all keys."""
NOT_CALLED = {
    *("open", "close", "migrate", "ping", "heartbeat", "remove_worker"),
    *("get_worker", "list_workers"),
    *("insert_key", "find_keys", "list_keys", "revoke_key", "mark_key_used"),
}


class Asked(monitoring.CommandListener):
    """Records the filters of queries while it is told to."""

    keeping = False

    def __init__(self) -> None:
        self.filters: list[tuple[str, Document]] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """Keep the filters of a command."""
        asked = event.command
        found = [
            *([asked["filter"]] if event.command_name == "find" else []),
            *([asked["query"]] if event.command_name == "distinct" else []),
            *(stage["$match"] for stage in asked.get("pipeline", []) if "$match" in stage),
            *(one["q"] for one in (*asked.get("updates", []), *asked.get("deletes", []))),
        ]
        if self.keeping:
            self.filters += [(asked[event.command_name], {**one}) for one in found]

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Do nothing."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Do nothing."""


@pytest.fixture(scope="module")
def asked() -> Asked:
    """Return a listener to all commands of the clients that are made from now on."""
    listener = Asked()
    monitoring.register(listener)
    return listener


async def call_about_tasks(store: Store) -> None:
    """Call each method about tasks and the requests that made them."""
    ending = Ending(status=Status.CANCELLED, at=5.0)
    tasks = [new_task(90 + i, "", "ann", at=store.now()) for i in range(9)]
    await store.insert_tasks(tasks)
    await store.insert_tasks(tasks[:1])
    request = KeyedRequest(request_id="r", digest="d", task_ids=(), made_at=store.now())
    await store.insert_request(request)
    await store.insert_request(replace(request, made_at=1.0))
    await store.get_request("r")
    await store.get_task(tasks[0].task_id, "ann")
    await store.get_tasks([task.task_id for task in tasks])
    await store.list_keyed("ann", ["k0", "k1"])
    cursor = TaskCursor(tasks[5].created_at, tasks[5].task_id)
    assert 5 == len(await store.list_tasks("ann", before=cursor, limit=9))
    await store.list_tasks("ann", before=None, limit=9)
    await store.end_task(tasks[0].task_id, ending)
    await store.end_tasks(91, up_to_round=1, ending=ending)
    await store.erase_tasks("ann", [tasks[0].task_id], limit=9)
    await store.erase_tasks("ann", limit=9)
    await store.delete_expired()
    await store.measure()
    await store.is_wanted(92)
    await store.is_wanted(9)
    await store.mark_joined([tasks[2].task_id])
    for lane, joined in ((None, None), (Lane.SHORT, None), (Lane.LONG, True)):
        await store.count_live("ann", lane=lane, joined=joined, limit=9)
    await store.list_wanted([9, 92])
    await store.list_waiting_owners()
    await store.list_begun(after=None, limit=9)
    await store.list_begun(after=90, limit=9)
    await store.list_queues(["ann"], created_before=1e10)
    await store.list_unjoined("ann", Lane.SHORT, created_before=1e10, limit=9)
    await store.list_owners([91, 92], since=1.0)


async def call_about_numbers(store: Store) -> None:
    """Call each method about numbers, relations and accounts."""
    known = await store.create_factorization(factorizations.begin(91, 1.0))
    await store.get_factorization(91)
    await store.list_ended([91, 92])
    await store.list_versions([91, 92])
    assert await store.swap_factorization(known.touched(2.0))
    await store.clear_outbox(91, known.outbox)
    await store.clear_outbox(91, ["another"])
    for after in (None, 5):
        await store.list_unpublished(touched_before=1e10, after=after, limit=9)
        await store.list_active(touched_before=1e10, after=after, limit=9)
        await store.list_waiting(7, after=after, limit=9)
    await store.insert_outcome(91, Outcome(unit_id="u", curves=1))
    assert [Outcome(unit_id="u", curves=1)] == await store.list_outcomes(91)
    assert [] == await store.list_outcomes(91, ["v"])
    await store.delete_outcomes(91, ["u"])
    await store.insert_batch(91, "u", b"b")
    assert [91] == await store.list_stored()
    assert [("u", b"b")] == [batch async for batch in store.iterate_batches(91)]
    await store.delete_batches(91)
    await store.swap_account(accounts.charge(await store.get_account("ann"), 1.0, 1.0))


async def test_every_query_has_an_index(mongodb_uri: str, asked: Asked) -> None:
    """Servers explain their plans differently, so a plain rule compares each filter with the indexes."""
    async with opened_mongo(mongodb_uri) as store:
        asked.keeping = True
        await call_about_tasks(store)
        await call_about_numbers(store)
        asked.keeping = False

    assert len(asked.filters) > 30
    scans = [
        (collection, which)
        for collection, which in asked.filters
        if collection not in SMALL and not has_index(collection, which)
    ]
    assert [] == scans


def has_index(collection: str, which: Document) -> bool:
    """Return whether an index begins with the fields that the filter fixes, or is partial by them.

    A field with an operator comes next, or is for the few documents that are found.
    """
    if "_id" in which:
        return True
    equal = {name for name, value in which.items() if not isinstance(value, dict)}
    equal |= {name for name, value in which.items() if isinstance(value, dict) and "$in" in value}
    for index in (each.document for each in INDEXES[collection]):
        partial = index.get("partialFilterExpression", {})
        implied = all(
            which.get(name) == value or (value == {"$gt": ""} and name in equal)
            for name, value in partial.items()
        )
        keys = list(index["key"])
        in_front = equal <= {*keys[: len(equal)], *partial}
        if implied and in_front and keys[0] in which:
            return True
    return False


@pytest.mark.parametrize(
    ("which", "found"),
    [
        ({"owner": "ann", "idempotency_key": "k"}, True),
        ({"owner": "ann", "live": True, "lane": "short"}, True),
        ({"owner": "ann", "lane": "short"}, False),
        ({"owner": "ann", "round": 1}, False),
        ({"round": {"$gt": 1}}, False),
        ({"owner": "ann", "created_at": {"$lt": 1.0}}, True),
        ({"$or": [{"live": True}, {"round": 1}]}, False),
    ],
)
def test_the_rule(which: Document, *, found: bool) -> None:
    """It tells a query that has an index from one that has none."""
    assert found is has_index("tasks", which)


def test_every_method_is_called() -> None:
    """A method that is added to the port has to be added above."""
    methods = {name for name in dir(MongoStore) if not name.startswith("_")}
    source = inspect.getsource(call_about_tasks) + inspect.getsource(call_about_numbers)

    assert {name for name in methods if f"store.{name}(" not in source} == NOT_CALLED
