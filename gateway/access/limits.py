"""What an owner may use: requests per second, tasks in progress, CPU seconds per day.

    fields = await limiter.request(identity)
    async with limiter.submission(identity, count=2, until=None) as more_fields:
        ...  # insert two tasks

The accounts are in the store (`common.domain.accounts`), so that limits hold over all gateways. Header
fields follow draft-ietf-httpapi-ratelimit-headers-10.
"""

import asyncio
import contextlib
import math
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field

from common import errors
from common.domain import KeyLimits, accounts
from common.runtime.settings import Settings
from common.store import Store
from gateway import metrics
from gateway.access.doorkeeper import Identity
from gateway.views import problems

TASKS_RETRY_SECONDS = 5
"""What Retry-After says when an owner has too many tasks: nobody knows when one will end."""


@dataclass
class _Lease:
    """Requests that this gateway has drawn from an owner's account in advance, with monotonic times."""

    granted: int = 0
    """Below zero it is what requests have cost besides, which is drawn before the next one is let in."""
    left: int = 0
    """Requests that remained in the account."""
    drawn_at: float = 0.0
    closed_until: float = 0.0
    """Until this time the account is empty, and is not asked again."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Limiter:
    """Draws on the accounts of owners whose keys have limits. Other owners cost nothing."""

    def __init__(self, store: Store, *, max_waits: int = Settings().max_key_waits) -> None:
        self._store = store
        self._max_waits = max_waits
        self._waits: Counter[str] = Counter()
        """Requests that wait for news, by the digest of their key."""
        self._leases: dict[tuple[str, KeyLimits], _Lease] = {}
        """By owner and limits: a key of few requests a second must not hold up another one of many."""
        self._submitting: dict[str, asyncio.Lock] = {}

    async def request(self, identity: Identity) -> Mapping[str, str]:
        """Count a request; return the header fields that say how many are left.

        Raises:
            problems.TooManyRequests: None are left.
            errors.StoreUnavailable: The account cannot be reached.

        """
        limits = identity.key.limits if identity.key else None
        if limits is None or limits.requests_per_second is None:
            return {}
        lease = self._leases.setdefault((identity.owner, limits), _Lease())
        async with lease.lock:
            if lease.granted > 0 and time.monotonic() - lease.drawn_at > 2 * accounts.LEASE_SECONDS:
                lease.granted = 0  # it was drawn for a time that is over
            if lease.granted <= 0:
                await self._draw(identity.owner, lease, limits)
            if lease.granted > 0:
                lease.granted -= 1
                return _request_fields(limits, lease)
            fields = _request_fields(limits, lease)
        wait = max(1, math.ceil(lease.closed_until - time.monotonic()))
        raise _counted(
            problems.TooManyRequests(
                rate=limits.requests_per_second, headers={**fields, "Retry-After": str(wait)}
            )
        )

    @contextlib.contextmanager
    def waiting(self, identity: Identity, seconds: float) -> Iterator[float]:
        """Count a request that asks to wait for news; yield how long it may, which is all or nothing.

        One too many is answered with what is known, and told to poll by its Retry-After: a client that
        waits can do that, and would not know what to do with a refusal.
        """
        key = identity.key.digest if identity.key else ""
        if not seconds:
            yield 0.0
            return
        if self._waits[key] >= self._max_waits:
            metrics.WAITS_SHORTENED.inc()
            yield 0.0
            return
        self._waits[key] += 1
        metrics.WAITS.inc()
        try:
            yield seconds
        finally:
            metrics.WAITS.dec()
            self._waits[key] -= 1
            if not self._waits[key]:
                del self._waits[key]

    def charge(self, identity: Identity, requests: int) -> None:
        """Count more requests for one that was let in and turned out to cost as much as these.

        It is answered all the same; the key's next requests to this gateway wait until they are paid for.
        """
        limits = identity.key.limits if identity.key else None
        if limits is not None and limits.requests_per_second is not None:
            lease = self._leases.setdefault((identity.owner, limits), _Lease())
            lease.granted -= requests

    async def _draw(self, owner: str, lease: _Lease, limits: KeyLimits) -> None:
        began = time.monotonic()
        while began >= lease.closed_until and lease.granted <= 0:
            account, owed = await self._store.get_account(owner), -lease.granted
            drawn = accounts.draw(account, limits, self._store.now(), owed=owed)
            if drawn.granted == 0:
                lease.left = 0
                lease.closed_until = (
                    began + drawn.next_in_s + owed / (limits.requests_per_second or 1.0)
                )
            elif await self._store.swap_account(drawn.account):
                lease.granted += drawn.granted
                lease.left, lease.drawn_at = drawn.left, began

    @contextlib.asynccontextmanager
    async def submission(
        self, identity: Identity, count: int, *, until: float | None
    ) -> AsyncIterator[Mapping[str, str]]:
        """Reserve room for new tasks while they are inserted; yield header fields for the answer.

        The reservation is written into the account before the tasks are inserted, so that two gateways
        do not give the same room away. It is returned afterwards, also if the tasks are refused. If
        nobody knows whether they were inserted (the store does not answer, or the request is
        cancelled), it lapses after `accounts.TICKET_SECONDS`.

        Args:
            identity: Who submits.
            count: How many of the tasks need work.
            until: The event loop's time after which the reservation is left to lapse.

        Raises:
            problems.TooManyTasks: The owner has too many tasks in progress.
            problems.CpuUsedUp: The owner's CPU seconds of the day are used up.
            errors.StoreUnavailable: The account cannot be reached.

        """
        limits = identity.key.limits if identity.key else KeyLimits()
        if limits.tasks is None and limits.cpu_seconds_a_day is None:
            yield {}
            return
        ticket = secrets.token_hex(6)
        async with self._submitting.setdefault(identity.owner, asyncio.Lock()):
            fields = await self._reserve(identity.owner, limits, ticket, count)
        try:
            yield fields
        except errors.KeyReused:  # the tasks that were inserted count as live by now
            await self._release(identity.owner, limits, ticket, until=until)
            raise
        await self._release(identity.owner, limits, ticket, until=until)

    async def _reserve(
        self, owner: str, limits: KeyLimits, ticket: str, count: int
    ) -> dict[str, str]:
        while True:
            now = self._store.now()
            account = await self._store.get_account(owner)
            cpu = account.cpu_today(now)
            if limits.cpu_seconds_a_day is not None and cpu >= limits.cpu_seconds_a_day:
                wait = math.ceil(accounts.seconds_to_tomorrow(now))
                fields = _submission_fields(limits, 0, cpu, now)
                headers = {**fields, "Retry-After": str(wait)}
                raise _counted(problems.CpuUsedUp(limit=limits.cpu_seconds_a_day, headers=headers))
            if limits.tasks is None:
                return _submission_fields(limits, 0, cpu, now)
            live = await self._store.count_live(owner, limit=limits.tasks)
            left = limits.tasks - live - account.reserved(now)
            if count > left:
                fields = _submission_fields(limits, left, cpu, now)
                headers = {**fields, "Retry-After": str(TASKS_RETRY_SECONDS)}
                raise _counted(
                    problems.TooManyTasks(
                        limit=limits.tasks, left=max(0, left), count=count, headers=headers
                    )
                )
            if await self._store.swap_account(accounts.reserve(account, ticket, count, now)):
                return _submission_fields(limits, left - count, cpu, now)

    async def _release(
        self, owner: str, limits: KeyLimits, ticket: str, *, until: float | None
    ) -> None:
        if limits.tasks is None:
            return  # nothing was reserved
        with contextlib.suppress(TimeoutError, errors.StoreUnavailable):
            async with asyncio.timeout_at(until):
                while True:
                    account = await self._store.get_account(owner)
                    after = accounts.release(account, ticket)
                    if after is account or await self._store.swap_account(after):
                        return


def _counted(error: problems.Limited) -> problems.Limited:
    metrics.REFUSED.labels(problems.name_of(error)).inc()
    return error


def _request_fields(limits: KeyLimits, lease: _Lease) -> dict[str, str]:
    rate = limits.requests_per_second or 1.0
    burst = math.floor(limits.largest_burst)
    left = max(0, lease.granted + lease.left)
    window = max(1, math.ceil(burst / rate))
    full = max(0, math.ceil((burst - left) / rate))
    return {
        "RateLimit-Policy": f'"requests";q={burst};w={window}',
        "RateLimit": f'"requests";r={left};t={full}',
    }


def _submission_fields(limits: KeyLimits, left: int, cpu: float, now: float) -> dict[str, str]:
    policies, states = [], []
    if limits.tasks is not None:
        policies.append(f'"tasks";q={limits.tasks};qu="tasks"')
        states.append(f'"tasks";r={max(0, left)}')
    if limits.cpu_seconds_a_day is not None:
        quota = math.floor(limits.cpu_seconds_a_day)
        rest = max(0, math.floor(limits.cpu_seconds_a_day - cpu))
        policies.append(f'"cpu";q={quota};w={accounts.DAY_SECONDS};qu="cpu-seconds"')
        states.append(f'"cpu";r={rest};t={math.ceil(accounts.seconds_to_tomorrow(now))}')
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(states)}
