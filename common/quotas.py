"""Whose CPU seconds of the day are used up, and until when their numbers rest.

    quotas = Quotas(store)
    over = await quotas.used_up(["ann", "bob"])
    until = await quotas.rests_until(number)

The limit of an owner is the largest of its valid keys (`common.domain.api_keys.cpu_limits`), and what it has
used is in its account. Owners without such a limit cost nothing, and both are remembered for some seconds.
"""

import asyncio
import math
import time
from collections.abc import Iterable
from typing import TypeVar

import structlog

from common import errors
from common.domain import accounts, key_of
from common.domain.api_keys import cpu_limits
from common.runtime.concurrency import gather_limited
from common.store import Store

log = structlog.stdlib.get_logger(__name__)

LIMITS_SECONDS = 10.0
"""How long the limits of all keys are remembered: a new key with a larger limit counts after that."""
USED_SECONDS = 2.0
"""How long it is remembered whether an owner's CPU seconds are used up; workers charge them as often."""
MOST_WAITING = 1000
"""Numbers whose owners are asked about on behalf of one number that they contain."""
_MOST_REMEMBERED = 10_000
_CONCURRENT_READS = 16

Found = TypeVar("Found")


class Quotas:
    """The CPU seconds of all owners, as one program sees them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._limits: dict[str, float] = {}
        self._limits_at = -math.inf
        self._used_up: dict[str, tuple[float, bool]] = {}
        """By owner: when it was looked up, and what was found."""
        self._resting: dict[str, tuple[float, float | None]] = {}
        """By number: when it was looked up, and what was found."""
        self._lock = asyncio.Lock()

    async def used_up(self, owners: Iterable[str]) -> set[str]:
        """Return those of the owners who have used up their CPU seconds of the day.

        Raises:
            errors.StoreUnavailable: The store does not answer.

        """
        asked = {*owners}
        limits = await self._current_limits() if asked else {}
        limited = sorted(asked & limits.keys())
        found = await gather_limited(self._is_used_up, limited, limit=_CONCURRENT_READS)
        return {owner for owner, used_up in zip(limited, found, strict=True) if used_up}

    async def any_limits(self) -> bool:
        """Return whether any owner has a limit of CPU seconds."""
        return bool(await self._current_limits())

    async def owner_rests_until(self, owner: str) -> float | None:
        """Return when the next of an owner's waiting tasks may be begun, or None if that is now.

        Raises:
            errors.StoreUnavailable: The store does not answer.

        """
        return accounts.next_day(self._store.now()) if await self.used_up([owner]) else None

    async def rests_until(self, number: int) -> float | None:
        """Return when work on a number may go on, or None if that is now.

        It rests if everybody who wants it, or a number that contains it, has used up its CPU seconds.
        Times are in seconds since the epoch.

        Raises:
            errors.StoreUnavailable: The store does not answer.

        """
        if not await self._current_limits():
            return None
        key, now = key_of(number), time.monotonic()
        at, until = self._resting.get(key, (-math.inf, None))
        if now - at > USED_SECONDS:
            until = await self._look_up(number)
            _remember(self._resting, key, (now, until))
        return until

    async def _look_up(self, number: int) -> float | None:
        waiting = await self._store.list_waiting(number, after=None, limit=MOST_WAITING)
        numbers = [number, *(each.number for each in waiting)]
        found = await self._store.list_owners(numbers, since=math.inf)
        owners = set[str]().union(*found)
        if not owners or owners - await self.used_up(owners):
            return None
        return accounts.next_day(self._store.now())

    async def _is_used_up(self, owner: str) -> bool:
        now = time.monotonic()
        at, used_up = self._used_up.get(owner, (-math.inf, False))
        if now - at > USED_SECONDS:
            account = await self._store.get_account(owner)
            used_up = account.cpu_today(self._store.now()) >= self._limits.get(owner, math.inf)
            _remember(self._used_up, owner, (now, used_up))
        return used_up

    async def _current_limits(self) -> dict[str, float]:
        async with self._lock:
            if time.monotonic() - self._limits_at > LIMITS_SECONDS:
                self._limits_at = time.monotonic()
                try:
                    self._limits = cpu_limits(await self._store.list_keys(), self._store.now())
                except errors.StoreUnavailable as error:
                    # Perhaps its role has not been renewed. Whoever needs the store itself will notice.
                    log.warning("Limits of CPU seconds cannot be read", why=str(error))
            return self._limits


def _remember(remembered: dict[str, Found], key: str, found: Found) -> None:
    if len(remembered) >= _MOST_REMEMBERED:
        remembered.clear()
    remembered[key] = found
