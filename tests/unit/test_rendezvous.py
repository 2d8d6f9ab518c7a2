"""Rendezvous hashing: every key has one server, and few keys move when the servers change."""

from hypothesis import given
from hypothesis import strategies as st

from common.domain import SHARDS, BigInt, shard_of
from factor_worker.rendezvous import place_of, server_of, shard_servers

KEYS = [f"key {i}" for i in range(50)]
names = st.lists(st.text(max_size=6), min_size=2, max_size=9, unique=True)


@given(names, st.randoms())
def test_the_order_of_the_servers_does_not_matter(servers: list[str], chance: object) -> None:
    """All who know the same servers agree."""
    mixed = [*servers]
    chance.shuffle(mixed)  # type: ignore[attr-defined]

    assert [server_of(key, servers) for key in KEYS] == [server_of(key, mixed) for key in KEYS]


@given(names)
def test_when_a_server_leaves_only_its_keys_move(servers: list[str]) -> None:
    """The others keep what they serve, and nothing is without a server."""
    before = {key: server_of(key, servers) for key in KEYS}
    gone, *left = servers
    after = {key: server_of(key, left) for key in KEYS}

    assert {*after.values()} <= {*left}
    assert all(before[key] in (gone, after[key]) for key in KEYS)


@given(names)
def test_every_shard_has_one_of_the_workers(workers: list[str]) -> None:
    """All who know the same workers agree; without workers nobody looks after anything."""
    servers = shard_servers(workers)

    assert SHARDS == len(servers)
    assert {*servers} <= {*workers}
    assert servers == shard_servers(workers[::-1])
    assert () == shard_servers([])


@given(names)
def test_the_place_of_a_server_is_how_many_come_before_it(servers: list[str]) -> None:
    """The one that serves a key has the first, and no two have the same."""
    for key in KEYS:
        places = {place_of(name, key, servers): name for name in servers}
        assert sorted(places) == list(range(len(servers)))
        assert server_of(key, servers) == places[0]


def test_the_shard_of_a_number_is_that_of_its_digits() -> None:
    """It is stored, so it may not change; numbers and owners are spread over all shards."""
    assert [shard_of(91), shard_of(BigInt(91)), shard_of("91")] == [shard_of(91)] * 3
    assert [2, 6] == [shard_of(91), shard_of("ann")]
    assert SHARDS == len({shard_of(number) for number in range(100)})
