"""How many numbers of one owner are in progress at once; the others wait in the store (docs/adr/0007)."""

import asyncio
import time
from dataclasses import dataclass, field

from common.domain import Lane
from common.store import Store

PLACES = {Lane.SHORT: 64, Lane.LONG: 4}
"""Places of one owner in each lane, however small the cluster is."""
PLACES_A_SLOT = {Lane.SHORT: 8, Lane.LONG: 2}
"""Places of one owner for each slot, where that is more."""
FRESH_SECONDS = 0.1
"""How long a count is trusted, less the places taken since."""
FULL_SECONDS = 0.02
"""Once an owner has no free place, wait this long before counting again."""


def places(lane: Lane, slots: int) -> int:
    """Return how many tasks of one owner may be in progress in a lane."""
    return max(PLACES[lane], PLACES_A_SLOT[lane] * slots)


@dataclass
class _Counted:
    free: int = 0
    at: float = float("-inf")
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Places:
    """A gateway's view of the free places of each owner, so that light load is published at once.

    Its counts are up to a tenth of a second old, so several gateways together may join a few tasks more
    than there are places for. Workers, who join the tasks that wait, count exactly.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._counted: dict[tuple[str, Lane], _Counted] = {}

    async def take(self, owner: str, lane: Lane, wanted: int) -> int:
        """Return how many of the wanted places the owner gets now, for tasks that are inserted next.

        Live tasks that still wait count too, so that new tasks do not overtake the owner's earlier ones.
        """
        if len(self._counted) > 10_000:  # noqa: PLR2004 far more than ask in a tenth of a second
            self._counted.clear()
        counted = self._counted.setdefault((owner, lane), _Counted())
        async with counted.lock:
            age = time.monotonic() - counted.at
            if age > (FRESH_SECONDS if counted.free >= wanted else FULL_SECONDS):
                live = await self._store.count_live(owner, lane=lane, limit=PLACES[lane])
                counted.free, counted.at = PLACES[lane] - live, time.monotonic()
            granted = min(counted.free, wanted)
            counted.free -= granted
        return granted
