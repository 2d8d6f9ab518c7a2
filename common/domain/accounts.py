"""What an owner has used: requests in a leaky bucket, and CPU seconds of the day.

An account is a value with a version, which gateways and workers swap in the store, so that limits hold
across any number of them. Gateways lease requests in advance (`LEASE_SECONDS`), so that an owner's account is
read about once a second and not once a request.
"""

import math
from typing import NamedTuple

from msgspec.structs import replace

from common.domain.api_keys import KeyLimits
from common.domain.codec import Versioned

DAY_SECONDS = 86_400
LEASE_SECONDS = 0.5
"""A lease covers the requests of this much time. In any window each gateway may therefore let through
rate * LEASE_SECONDS requests (at least one) more than the policy allows."""


TICKET_SECONDS = 10.0
"""How long a reservation holds; an insertion succeeds or fails in a fraction of this."""


class Account(Versioned, frozen=True, kw_only=True):
    """What one owner has used. ``version`` is 0 before the first swap."""

    owner: str
    version: int = 0
    used: float = 0.0
    """Requests in the bucket at the time `at`; the bucket leaks at the rate that the limits allow."""
    at: float = 0.0
    """It never goes back, so that gateways whose clocks differ do not have the bucket leak twice."""
    day: int = 0
    """The UTC day that `cpu_seconds` counts, in days since the epoch."""
    cpu_seconds: float = 0.0
    tickets: dict[str, tuple[int, float]] = {}  # noqa: RUF012 msgspec copies an empty default
    """Tasks that are being inserted right now: how many, and since when, by a random ticket."""

    def reserved(self, now: float) -> int:
        """Return how many tasks are reserved for but may not be in the store yet."""
        return sum(count for count, at in self.tickets.values() if now - at < TICKET_SECONDS)

    def cpu_today(self, now: float) -> float:
        """Return the CPU seconds used so far today (UTC)."""
        # A day that has not come is that of a clock which is ahead: what it counts is of today.
        return self.cpu_seconds if self.day >= day_of(now) else 0.0


class Drawn(NamedTuple):
    """A lease: the requests granted, those still left, and the seconds until there is another one."""

    account: Account
    granted: int
    left: int
    next_in_s: float


def draw(account: Account, limits: KeyLimits, now: float, *, owed: int = 0) -> Drawn:
    """Return the account after leasing requests from it; the same account if none is left.

    Requests that are owed, because they cost more than was known when they were let in, are leased besides.
    """
    rate = limits.requests_per_second
    if rate is None:
        raise ValueError("limits without a rate have no requests to lease")
    burst = limits.largest_burst
    used = min(burst, max(0.0, account.used - rate * max(0.0, now - account.at)))
    free = math.floor(burst - used + 1e-9)
    granted = min(free, owed + max(1, math.floor(rate * LEASE_SECONDS)))
    if granted == 0:
        return Drawn(account, 0, 0, (used + 1 - burst) / rate)
    after = replace(
        account, version=account.version + 1, used=used + granted, at=max(account.at, now)
    )
    return Drawn(after, granted, free - granted, 0.0 if free > granted else 1 / rate)


def charge(account: Account, cpu_seconds: float, now: float) -> Account:
    """Return the account after CPU seconds were used."""
    return replace(
        account,
        version=account.version + 1,
        day=max(account.day, day_of(now)),
        cpu_seconds=account.cpu_today(now) + cpu_seconds,
    )


def reserve(account: Account, ticket: str, count: int, now: float) -> Account:
    """Return the account with room reserved for tasks that are about to be inserted."""
    fresh = {key: held for key, held in account.tickets.items() if now - held[1] < TICKET_SECONDS}
    tickets = {**fresh, ticket: (count, now)}
    return replace(account, version=account.version + 1, tickets=tickets)


def release(account: Account, ticket: str) -> Account:
    """Return the account with a reservation given back; the same account if it has lapsed."""
    if ticket not in account.tickets:
        return account
    left = {key: held for key, held in account.tickets.items() if key != ticket}
    return replace(account, version=account.version + 1, tickets=left)


def day_of(now: float) -> int:
    """Return the UTC day of a time."""
    return int(now // DAY_SECONDS)


def next_day(now: float) -> float:
    """Return when the next UTC day begins."""
    return float((day_of(now) + 1) * DAY_SECONDS)


def seconds_to_tomorrow(now: float) -> float:
    """Return the seconds until the UTC day ends."""
    return DAY_SECONDS - now % DAY_SECONDS
