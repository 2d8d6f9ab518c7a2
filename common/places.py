"""How many numbers of one owner are begun at once; the rest waits in the store (docs/adr/0007)."""

import asyncio
import time
from dataclasses import dataclass, field

from common.domain import Lane
from common.store import Store

PLACES = {Lane.SHORT: 64, Lane.LONG: 4}
"""Places of one owner, by lane, however small the cluster is."""
PLACES_A_SLOT = {Lane.SHORT: 8, Lane.LONG: 2}
"""Places of one owner for each slot of a larger cluster."""
FRESH_SECONDS = 0.1
"""A count is trusted for so long, less what was taken since."""
FULL_SECONDS = 0.02
"""So long after none was free, it is counted again."""


def places(lane: Lane, slots: int) -> int:
    """Return how many tasks of one owner may be in progress in a lane."""
    return max(PLACES[lane], PLACES_A_SLOT[lane] * slots)


@dataclass
class _Counted:
    free: int = 0
    at: float = float("-inf")
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Places:
    """A gateway's view of who has a place free, so that a small load is published at once.

    Its counts are a tenth of a second old at most, so several gateways together may begin a few more
    than there are places; workers, who begin what waits, count exactly.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._counted: dict[tuple[str, Lane], _Counted] = {}

    async def take(self, owner: str, lane: Lane, wanted: int) -> int:
        """Return how many of the wanted places the owner gets now, for tasks to be inserted next.

        Live tasks that still wait count too: nobody overtakes an owner's own earlier tasks.
        """
        if len(self._counted) > 10_000:  # noqa: PLR2004 enough for those of a tenth of a second
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
