"""The heartbeat: what a worker learns about the cluster that it is part of."""

import msgspec
import pytest
from msgspec.structs import replace

from common.domain import ALL_SHARDS, SHARDS, BigInt, Cluster, Survey, Unit, Whole, Work
from common.store import Store
from common.store.sqlite import SqliteStore
from factor_worker import heartbeat as heartbeat_module
from factor_worker.heartbeat import Activity, Heartbeat, keeper_of
from factor_worker.rendezvous import shard_servers


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

    assert Cluster(slots=2, numbers=1, workers=1, servers=("first",) * SHARDS) == first.cluster
    both = shard_servers(["first", "second"])
    assert Cluster(slots=5, numbers=2, workers=2, servers=both) == second.cluster

    await second.end()
    await first.beat(activity())
    assert Cluster(slots=2, numbers=1, workers=1, servers=("first",) * SHARDS) == first.cluster


async def test_a_store_that_is_down_leaves_the_cluster_as_it_was(sqlite_store: SqliteStore) -> None:
    """The worker goes on with what it knew."""
    heartbeat = Heartbeat(sqlite_store, worker_id="w", slots=2)
    await heartbeat.beat(activity())
    await sqlite_store.close()
    await heartbeat.beat(activity())

    assert Cluster(slots=2, servers=("w",) * SHARDS) == heartbeat.cluster


class Lists:
    """Counts how often a store lists its workers."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        list_workers = store.list_workers

        async def counted(*, seen_after: float) -> object:
            self.count += 1
            return await list_workers(seen_after=seen_after)

        monkeypatch.setattr(store, "list_workers", counted)


async def beat(*heartbeats: Heartbeat) -> None:
    """Let each send a heartbeat, one after the other."""
    for heartbeat in heartbeats:
        await heartbeat.beat(activity())


async def settled(store: Store, names: str = "abcdef") -> dict[str, Heartbeat]:
    """Return workers of one slot, by name, who know each other."""
    heartbeats = {name: Heartbeat(store, worker_id=name) for name in names}
    for _ in range(3):
        await beat(*heartbeats.values())
    return heartbeats


async def test_one_worker_lists_the_workers_for_all(
    sqlite_store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others read what it has seen, and everybody has the same view."""
    workers = [*(await settled(sqlite_store)).values()]
    lists = Lists(sqlite_store, monkeypatch)
    await beat(*workers)

    assert 1 == lists.count
    cluster = Cluster(slots=6, workers=6, servers=shard_servers("abcdef"))
    assert {cluster} == {each.cluster for each in workers}
    shares = [each.share for each in workers]
    assert sorted(ALL_SHARDS) == sorted(shard for share in shares for shard in share)


async def test_a_worker_that_comes_is_known_to_all_within_two_heartbeats(
    sqlite_store: SqliteStore,
) -> None:
    """At first it lists the workers itself, and from then on it reads what the keeper has seen."""
    workers = await settled(sqlite_store)
    new = Heartbeat(sqlite_store, worker_id="new", slots=3)
    await beat(new)
    assert (9, 7) == (new.cluster.slots, new.cluster.workers)
    for _ in range(2):
        await beat(*workers.values(), new)

    assert {new.cluster} == {each.cluster for each in workers.values()}


async def test_the_others_go_on_without_a_keeper_that_has_stopped(
    sqlite_store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its heartbeat is gone from the store, so they list the workers and find the next keeper."""
    workers = await settled(sqlite_store)
    await workers.pop(keeper_of(workers["a"].cluster)).end()

    await require_one_keeper(sqlite_store, workers, monkeypatch)


async def test_the_others_go_on_without_a_keeper_that_has_died(
    sqlite_store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They list the workers until it no longer counts as alive, and then one of them is the keeper."""
    workers = await settled(sqlite_store)
    dead = workers.pop(keeper_of(workers["a"].cluster)).worker_id
    with monkeypatch.context() as patch:
        patch.setattr(heartbeat_module, "SILENT_SECONDS", -1.0)
        lists = Lists(sqlite_store, patch)
        await beat(*workers.values())
        assert lists.count == len(workers)
        last = await sqlite_store.get_worker(dead)
        assert last is not None
        await sqlite_store.heartbeat(replace(last, seen_at=last.seen_at - 60))
        await beat(*workers.values())

    await require_one_keeper(sqlite_store, workers, monkeypatch)


async def require_one_keeper(
    store: Store, workers: dict[str, Heartbeat], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Require that within three heartbeats one of these workers lists for all, and these are all."""
    for _ in range(3):
        await beat(*workers.values())
    lists = Lists(store, monkeypatch)
    await beat(*workers.values())

    assert 1 == lists.count
    assert {len(workers)} == {each.cluster.workers for each in workers.values()}
    assert {shard_servers([*workers])} == {each.cluster.servers for each in workers.values()}


async def test_what_all_workers_read_does_not_grow_with_their_number(
    sqlite_store: SqliteStore,
) -> None:
    """Thousands of workers read it every two seconds."""
    sizes = []
    for names in ("abcdefgh", "abcdefghijklmnop"):
        workers = await settled(sqlite_store, names)
        keeper = await sqlite_store.get_worker(keeper_of(workers["a"].cluster))
        assert keeper is not None
        assert keeper.cluster is not None
        sizes.append(len(msgspec.json.encode(keeper.cluster)))

    assert sizes[0] + 2 >= sizes[1]  # the counts have one digit more


async def test_a_word_of_an_earlier_version_is_not_believed(
    sqlite_store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While workers are upgraded, a keeper may name all workers and not who looks after what."""
    workers = await settled(sqlite_store)
    keeper = await sqlite_store.get_worker(keeper_of(workers["a"].cluster))
    assert keeper is not None
    await sqlite_store.heartbeat(replace(keeper, cluster=Cluster(slots=6)))
    other = next(each for name, each in workers.items() if name != keeper.worker_id)
    lists = Lists(sqlite_store, monkeypatch)
    await beat(other)

    assert 1 == lists.count
    assert keeper.cluster == other.cluster
