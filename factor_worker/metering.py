"""Charges CPU seconds to the owners of the tasks that they were spent for, in equal parts."""

import asyncio
import collections
import time

import structlog

from common import errors
from common.domain import accounts
from common.store import Store

log = structlog.stdlib.get_logger(__name__)

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
        self._bills: dict[str, float] = collections.defaultdict(float)
        """What owners are known to owe and have not been charged."""

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
                log.warning("CPU seconds are charged later", why=str(error))

    async def charge(self) -> None:
        """Write what there is to the accounts of the owners; never twice, be a write's outcome unknown."""
        if self._spent:
            await self._divide()
        while self._bills:
            await self._bill(*self._bills.popitem())

    async def _divide(self) -> None:
        """Turn what numbers have cost into bills; what is noted meanwhile waits for its own turn."""
        numbers = list(self._spent)
        owners = await self._store.list_owners(numbers, since=self._since - LATELY_SECONDS)
        for number in numbers:
            cpu_seconds = self._spent.pop(number)
            for owner in owners[number]:
                self._bills[owner] += cpu_seconds / len(owners[number])

    async def _bill(self, owner: str, cpu_seconds: float) -> None:
        while True:
            known = await self._store.get_account(owner)
            after = accounts.charge(known, cpu_seconds, time.time())
            if await self._store.swap_account(after):
                return
