"""Shards: the parts into which all that workers look after is divided, so that each looks at its own."""

import hashlib

SHARDS = 8
"""As many workers at most look at the store, however many there are: the load of looks is bounded by it."""
ALL_SHARDS = frozenset(range(SHARDS))


def shard_of(key: int | str) -> int:
    """Return the shard of a number or of an owner, from 0 to ``SHARDS`` - 1; stores keep that of numbers."""
    text = key if isinstance(key, str) else str(int(key))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % SHARDS
