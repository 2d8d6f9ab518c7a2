"""Charges CPU seconds to the owners of the tasks that they were spent for, in equal parts."""

import asyncio
import collections
import logging
import time

from common import accounts, errors
from common.store import Store

log = logging.getLogger(__name__)

CHARGE_SECONDS = 2.0
"""Between two writes to the accounts: a limit is noticed so much later at most."""
LATELY_SECONDS = 10.0
"""A task that ended so long before the charge paid for the unit that ended it."""


class Meter:
    """CPU seconds that are not charged yet, by number. A worker that is killed forgets its last ones."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._spent: dict[int, float] = {}
        self._since = 0.0

    def note(self, number: int, cpu_seconds: float) -> None:
        """Take what a settled unit of a number has cost."""
        if not self._spent:
            self._since = time.time()
        if cpu_seconds > 0:
            self._spent[number] = self._spent.get(number, 0.0) + cpu_seconds

    async def run(self) -> None:
        """Charge again and again, until cancelled."""
        while True:
            await asyncio.sleep(CHARGE_SECONDS)
            try:
                await self.charge()
            except errors.StoreUnavailable as error:
                log.warning("CPU seconds are charged later: %s", error)

    async def charge(self) -> None:
        """Write everything to the accounts of the owners."""
        spent, since = self._spent, self._since
        if not spent:
            return
        owners = await self._store.list_owners(list(spent), since=since - LATELY_SECONDS)
        self._spent = {}
        bills: dict[str, float] = collections.defaultdict(float)
        for number, cpu_seconds in spent.items():
            for owner in owners[number]:
                bills[owner] += cpu_seconds / len(owners[number])
        for owner, cpu_seconds in bills.items():
            await self._bill(owner, cpu_seconds)

    async def _bill(self, owner: str, cpu_seconds: float) -> None:
        while True:
            known = await self._store.get_account(owner)
            after = accounts.charge(known, cpu_seconds, time.time())
            if await self._store.swap_account(after):
                return
