"""The heartbeat: what a worker learns about the cluster that it is part of."""

from common.domain import BigInt, Survey, Unit, Whole, Work
from common.store.sqlite import SqliteStore
from factor_worker.heartbeat import Activity, Cluster, Heartbeat


def activity(*works: Work) -> Activity:
    """Return that of a worker with a unit for each of these works."""
    units = [Unit(unit_id=str(i), number=work.target, work=work) for i, work in enumerate(works)]
    return Activity(tuple(units), newest_issue={}, units_done=0)


async def test_a_heartbeat_counts_the_slots_of_all_live_workers(sqlite_store: SqliteStore) -> None:
    """Numbers count once, however many workers have their units, and those being surveyed do not count."""
    first = Heartbeat(sqlite_store, worker_id="first", slots=2)
    second = Heartbeat(sqlite_store, worker_id="second", slots=3)
    await first.beat(activity(Whole(BigInt(91)), Survey(BigInt(93))))
    await second.beat(activity(Whole(BigInt(91)), Whole(BigInt(95))))

    assert Cluster(slots=2, numbers=1, worker_ids=("first",)) == first.cluster
    assert Cluster(slots=5, numbers=2, worker_ids=("first", "second")) == second.cluster

    await second.end()
    await first.beat(activity())
    assert Cluster(slots=2, numbers=1, worker_ids=("first",)) == first.cluster


async def test_a_store_that_is_down_leaves_the_cluster_as_it_was(sqlite_store: SqliteStore) -> None:
    """The worker goes on with what it knew."""
    heartbeat = Heartbeat(sqlite_store, worker_id="w", slots=2)
    await heartbeat.beat(activity())
    await sqlite_store.close()
    await heartbeat.beat(activity())

    assert Cluster(slots=2, worker_ids=("w",)) == heartbeat.cluster
