"""Rendezvous hashing: who serves what, as every worker computes it for itself from the same list of workers.

Each worker has a rank for each key, and the one with the largest serves it. When a worker leaves, only its
keys move, and when one comes, it takes over only what it serves from then on. Nobody has to hold a lease.
"""

import functools
import hashlib
from collections.abc import Sequence

from common.domain import ALL_SHARDS


def server_of(key: str, servers: Sequence[str]) -> str:
    """Return the one of the servers (at least one) that serves a key, whatever their order."""
    return max(servers, key=lambda server: _rank(server, key))


@functools.lru_cache(maxsize=256)
def place_of(server: str, key: str, servers: tuple[str, ...]) -> int:
    """Return how many of the servers come before one of them for a key: 0 for the one that serves it.

    Each of them is hashed, so what was computed lately is remembered.
    """
    rank = _rank(server, key)
    return sum(_rank(other, key) > rank for other in servers)


@functools.lru_cache(maxsize=16)
def share_of(worker_id: str, workers: tuple[str, ...]) -> frozenset[int]:
    """Return the shards that one of the workers looks after: all, if it does not know of itself yet."""
    if worker_id not in workers:
        return ALL_SHARDS
    return frozenset(shard for shard in ALL_SHARDS if shard_server(shard, workers) == worker_id)


def shard_server(shard: int, workers: Sequence[str]) -> str:
    """Return the one of the workers (at least one) that looks after a shard."""
    return server_of(f"shard {shard}", workers)


def _rank(server: str, key: str) -> bytes:
    return hashlib.sha256(f"{server}\0{key}".encode()).digest()
