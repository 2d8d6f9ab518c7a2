"""Rendezvous hashing: who serves what, as every worker computes it for itself from the same list of workers.

Each worker has a rank for each key, and the one with the largest serves it. When a worker leaves, only its
keys move, and when one comes, it takes over only what it serves from then on. Nobody has to hold a lease.
"""

import hashlib
from collections.abc import Collection, Sequence

from common.domain import ALL_SHARDS


def server_of(key: str, servers: Sequence[str]) -> str:
    """Return the one of the servers (at least one) that serves a key, whatever their order."""
    return max(servers, key=lambda server: _rank(server, key))


def place_of(server: str, key: str, servers: Collection[str]) -> int:
    """Return how many of the servers come before one of them for a key: 0 for the one that serves it."""
    rank = _rank(server, key)
    return sum(_rank(other, key) > rank for other in servers)


def shard_servers(workers: Sequence[str]) -> tuple[str, ...]:
    """Return, for each shard, the one of the workers that looks after it; nothing if there are none."""
    return tuple(server_of(f"shard {shard}", workers) for shard in sorted(ALL_SHARDS) if workers)


def _rank(server: str, key: str) -> bytes:
    return hashlib.sha256(f"{server}\0{key}".encode()).digest()
