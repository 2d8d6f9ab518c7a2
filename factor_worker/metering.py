"""Metering: CPU seconds are charged to the owners of the tasks that they were spent for, in equal parts."""

import asyncio
import collections
import itertools
from collections.abc import Iterable

import structlog

from common import errors
from common.domain import SHORT_DIGITS, accounts, key_of
from common.quotas import MOST_WAITING, Quotas
from common.runtime.backoff import Backoff, jittered
from common.store import Store

log = structlog.stdlib.get_logger(__name__)

CHARGE_SECONDS = 2.0
"""Time between two writes to the accounts, and so the longest time until a limit is noticed."""
LONGEST_PAUSE_SECONDS = 30.0
"""And the longest one, if so many workers charge the same owner that most attempts fail."""
DRAIN_ATTEMPTS = 5
LATELY_SECONDS = 10.0
"""The owner of a task that ended this long before the charge still pays for the unit that ended it."""


class Meter:
    """CPU seconds that have not been charged yet. A worker that is killed forgets its last ones."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.quotas = Quotas(store)
        self._spent: dict[str, float] = {}
        """CPU seconds by the key of a number."""
        self._since = 0.0
        """When the first of them was added, in seconds since the epoch."""
        self._shared: dict[str, set[str]] = collections.defaultdict(set)
        """The numbers that contained a number lately, whose owners share its cost."""
        self._bills: dict[str, float] = collections.defaultdict(float)
        """CPU seconds by owner, for numbers whose owners have been looked up."""

    def add(self, number: int, cpu_seconds: float) -> None:
        """Add what a unit of a number has cost."""
        if not self._spent:
            self._since = self._store.now()
        if cpu_seconds > 0:
            key = key_of(number)
            self._spent[key] = self._spent.get(key, 0.0) + cpu_seconds

    async def list_containing(self, number: int) -> list[int]:
        """Return the numbers that wait for a number now; none if nobody has a limit.

        Their owners share what it costs (`share`), and might cancel before it is charged.

        Raises:
            errors.StoreUnavailable: The store does not answer.

        """
        if len(str(int(number))) <= SHORT_DIGITS or not await self.quotas.any_limits():
            return []
        waiting = await self._store.list_waiting(number, after=None, limit=MOST_WAITING)
        return [each.number for each in waiting]

    def share(self, number: int, containing: Iterable[int]) -> None:
        """Have the owners of the numbers that waited for a number share what it has cost."""
        if key_of(number) in self._spent:
            self._shared[key_of(number)].update(map(key_of, containing))

    async def charge_forever(self) -> None:
        """Charge every `CHARGE_SECONDS`, more seldom while others are faster, until cancelled."""
        pause = CHARGE_SECONDS
        while True:
            await asyncio.sleep(jittered(pause))
            pause = CHARGE_SECONDS if not self._bills else min(2 * pause, LONGEST_PAUSE_SECONDS)
            try:
                await self.charge()
            except errors.StoreUnavailable as error:
                log.warning("CPU seconds will be charged later", why=error.why)

    async def drain(self) -> None:
        """Charge everything, because the worker is about to stop; give up after some attempts.

        Raises:
            errors.StoreUnavailable: The store does not answer.

        """
        await self.charge()
        backoff = Backoff(first=0.1, longest=1.0)
        for _ in range(DRAIN_ATTEMPTS):
            if not self._bills:
                return
            await backoff.pause()
            await self.charge()

    async def charge(self) -> None:
        """Write everything to the owners' accounts, as far as nobody else writes to them at that moment.

        Hundreds of workers may charge one owner. If each tried again at once, they would spend their time
        on losing to each other, so what loses once waits for the next charge.

        Nothing is charged twice: if the outcome of a write is unknown, it is not repeated.

        Raises:
            errors.StoreUnavailable: The store does not answer; the rest is charged later.

        """
        if self._spent:
            await self._divide()
        for owner in list(self._bills):
            cpu_seconds = self._bills.pop(owner)
            known = await self._store.get_account(owner)
            after = accounts.charge(known, cpu_seconds, self._store.now())
            if not await self._store.swap_account(after):
                self._bills[owner] += cpu_seconds

    async def _divide(self) -> None:
        """Turn what numbers have cost into bills; what is added meanwhile waits for the next time."""
        keys = list(self._spent)
        for key in keys:
            if len(key) > SHORT_DIGITS:  # only long ones are waited for
                waiting = await self._store.list_waiting(int(key), after=None, limit=MOST_WAITING)
                self._shared[key].update(key_of(each.number) for each in waiting)
        asked = [*{*keys, *itertools.chain.from_iterable(self._shared.values())}]
        since = self._since - LATELY_SECONDS
        found = await self._store.list_owners([*map(int, asked)], since=since)
        owners = dict(zip(asked, found, strict=True))
        for key in keys:
            cpu_seconds = self._spent.pop(key)
            containing = self._shared.pop(key, set())
            wanting = set[str]().union(*(owners[each] for each in (key, *containing)))
            # Those who have nothing left today do not take a part of the bill off those who have.
            paying = wanting - await self.quotas.used_up(wanting) or wanting
            for owner in paying:
                self._bills[owner] += cpu_seconds / len(paying)
