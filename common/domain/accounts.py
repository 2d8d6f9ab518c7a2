"""What an owner has used: requests in a leaky bucket, and CPU seconds of the day. Pure.

An account is a value with a version; gateways and workers swap it in the store, so limits hold over
any number of them. Gateways draw requests in advance, see `LEASE_SECONDS`, so that the store is asked
about once a second for an owner and not once a request.
"""

import math
from typing import NamedTuple

from msgspec.structs import replace

from common.domain.api_keys import KeyLimits
from common.domain.codec import Versioned

DAY_SECONDS = 86_400
LEASE_SECONDS = 0.5
"""A gateway draws the requests of so long a time at once. It can therefore let through that much more
than the policy in any window: rate * LEASE_SECONDS requests (at least one) for each gateway."""


TICKET_SECONDS = 10.0
"""An insertion has happened or failed by this time, several times over."""


class Account(Versioned, frozen=True, kw_only=True):
    """What one owner has used. ``version`` is 0 before the first swap."""

    owner: str
    version: int = 0
    used: float = 0.0
    """Requests in the bucket as of `at`; it leaks at the rate of the limits."""
    at: float = 0.0
    day: int = 0
    """Of the CPU seconds, in days since the epoch."""
    cpu_seconds: float = 0.0
    tickets: dict[str, tuple[int, float]] = {}  # noqa: RUF012 msgspec copies an empty default
    """Tasks that are just being inserted: how many, and since when."""

    def reserved(self, now: float) -> int:
        """Return how many tasks may be on their way into the store."""
        return sum(count for count, at in self.tickets.values() if now - at < TICKET_SECONDS)

    def cpu_today(self, now: float) -> float:
        """Return the CPU seconds that the day has seen."""
        return self.cpu_seconds if self.day == day_of(now) else 0.0


class Drawn(NamedTuple):
    """What a gateway got: whole requests, what it left, and when there is another one."""

    account: Account
    granted: int
    left: int
    next_in_s: float


def draw(account: Account, limits: KeyLimits, now: float) -> Drawn:
    """Return the account after drawing a lease of requests; the same account if none is there."""
    rate = limits.requests_per_second
    if rate is None:
        raise ValueError("these limits have no rate to draw by")
    burst = limits.largest_burst
    used = min(burst, max(0.0, account.used - rate * max(0.0, now - account.at)))
    free = math.floor(burst - used + 1e-9)
    granted = min(free, max(1, math.floor(rate * LEASE_SECONDS)))
    if granted == 0:
        return Drawn(account, 0, 0, (used + 1 - burst) / rate)
    after = replace(account, version=account.version + 1, used=used + granted, at=now)
    return Drawn(after, granted, free - granted, 0.0 if free > granted else 1 / rate)


def charge(account: Account, cpu_seconds: float, now: float) -> Account:
    """Return the account with CPU seconds more."""
    return replace(
        account,
        version=account.version + 1,
        day=day_of(now),
        cpu_seconds=account.cpu_today(now) + cpu_seconds,
    )


def reserve(account: Account, ticket: str, count: int, now: float) -> Account:
    """Return the account with tasks on their way."""
    fresh = {key: held for key, held in account.tickets.items() if now - held[1] < TICKET_SECONDS}
    tickets = {**fresh, ticket: (count, now)}
    return replace(account, version=account.version + 1, tickets=tickets)


def release(account: Account, ticket: str) -> Account:
    """Return the account after the insertion; the same account if the ticket has lapsed."""
    if ticket not in account.tickets:
        return account
    left = {key: held for key, held in account.tickets.items() if key != ticket}
    return replace(account, version=account.version + 1, tickets=left)


def day_of(now: float) -> int:
    """Return the UTC day of a time."""
    return int(now // DAY_SECONDS)


def seconds_to_tomorrow(now: float) -> float:
    """Return how long the UTC day still lasts."""
    return DAY_SECONDS - now % DAY_SECONDS
