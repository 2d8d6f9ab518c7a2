"""Metering: CPU seconds are charged to the owners of the tasks that they were spent for, in equal parts."""

import asyncio
import collections
import time

import structlog

from common import errors
from common.domain import accounts
from common.store import Store

log = structlog.stdlib.get_logger(__name__)

CHARGE_SECONDS = 2.0
"""Time between two writes to the accounts, and so the longest time until a limit is noticed."""
LATELY_SECONDS = 10.0
"""The owner of a task that ended this long before the charge still pays for the unit that ended it."""


class Meter:
    """CPU seconds that have not been charged yet. A worker that is killed forgets its last ones."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._spent: dict[int, float] = {}
        """CPU seconds by number."""
        self._since = 0.0
        """When the first of them was added, in seconds since the epoch."""
        self._bills: dict[str, float] = collections.defaultdict(float)
        """CPU seconds by owner, for numbers whose owners have been looked up."""

    def add(self, number: int, cpu_seconds: float) -> None:
        """Add what a unit of a number has cost."""
        if not self._spent:
            self._since = time.time()
        if cpu_seconds > 0:
            self._spent[number] = self._spent.get(number, 0.0) + cpu_seconds

    async def charge_forever(self) -> None:
        """Charge every `CHARGE_SECONDS`, until cancelled."""
        while True:
            await asyncio.sleep(CHARGE_SECONDS)
            try:
                await self.charge()
            except errors.StoreUnavailable as error:
                log.warning("CPU seconds will be charged later", why=str(error))

    async def charge(self) -> None:
        """Write everything to the owners' accounts.

        Nothing is charged twice: if the outcome of a write is unknown, it is not repeated.

        Raises:
            errors.StoreUnavailable: The store does not answer; the rest is charged later.

        """
        if self._spent:
            await self._divide()
        while self._bills:
            await self._bill(*self._bills.popitem())

    async def _divide(self) -> None:
        """Turn what numbers have cost into bills; what is added meanwhile waits for the next time."""
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
