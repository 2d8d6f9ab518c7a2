"""Who may do what: API keys on requests and sockets, and what their owners may use.

Without keys (`Settings.keys`) everybody is the owner `anonymous` and may do everything. With them,
every call but the public ones needs `Authorization: Bearer` and a key; an owner sees only what is its
own, and only an operator's key opens what tells of the machines.
"""

import asyncio
import contextlib
import enum
import re
import time
import urllib.parse
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

import structlog
from aiohttp import web

from common import errors
from common.domain import ApiKey, digest_of_secret, looks_like_a_key
from common.runtime.hosts import is_loopback
from common.runtime.settings import Settings
from common.store import Store
from gateway import metrics
from gateway.views import problems

log = structlog.stdlib.get_logger(__name__)

ANONYMOUS = "anonymous"
RECHECK_SECONDS = 2.0
"""A revoked key is refused, and its sockets are closed, so much later at most."""
TRUST_SECONDS = 10.0
"""A key that could not be checked again for so long, because the store is down, opens nothing."""
FORGET_SECONDS = 60.0
STRANGERS_SHARE = 4
"""One in so many sockets may be waiting for its key: strangers never take all places."""
_BEARER = re.compile(r"bearer +([!-~]+) *", re.ASCII | re.IGNORECASE)


class Access(enum.Enum):
    """What a call asks of whoever makes it."""

    PUBLIC = "public"
    """Nothing."""
    OWNER = "owner"
    """Any key."""
    OPERATOR = "operator"
    """A key that was made with --operator."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose request it is; without a key where keys are off."""

    owner: str
    key: ApiKey | None = None


IDENTITY = web.RequestKey("IDENTITY", Identity)


def owner_of(request: web.Request) -> str:
    """Return whose tasks a request may see and make."""
    return request[IDENTITY].owner


class Quota:
    """Subscriptions of one key in this gateway, shared by its sockets."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def take(self, count: int) -> bool:
        """Take places if there are so many."""
        if self.used + count > self.limit:
            return False
        self.used += count
        return True

    def give(self, count: int = 1) -> None:
        """Give places back."""
        self.used -= count


@dataclass
class _Known:
    """A key that was shown lately."""

    key: ApiKey
    checked_at: float
    used_at: float
    subscriptions: Quota
    sockets: set[Callable[[], Awaitable[None]]] = field(default_factory=set)
    """How to close each socket, because the key was revoked."""


class Doorkeeper:
    """Knows the keys that are in use, and asks the store again whether they are still good."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self.enabled = settings.keys
        self._settings = settings
        self._store = store
        self._known: dict[str, _Known] = {}
        self._origins = {origin.strip() for origin in settings.origins.split(",")} - {""}
        self._rechecking: asyncio.Task[None] | None = None
        self.strangers = 0
        """Sockets that have not shown a key yet."""
        self._free = Quota(settings.max_sockets * settings.max_subscriptions)

    @property
    def crowded(self) -> bool:
        """Whether so many sockets wait for their keys that no more may."""
        return self.strangers * STRANGERS_SHARE >= self._settings.max_sockets

    async def start(self) -> None:
        """Begin to look for revocations; warn if nobody can come in."""
        if not self.enabled:
            return
        self._rechecking = asyncio.create_task(self._recheck_forever())
        with contextlib.suppress(errors.StoreUnavailable):
            if all(key.revoked_at is not None for key in await self._store.list_keys()):
                log.warning("No API key opens anything yet: make one with `factorline keys make`")

    async def stop(self) -> None:
        """Look no more."""
        if self._rechecking is not None:
            self._rechecking.cancel()
            await asyncio.gather(self._rechecking, return_exceptions=True)

    async def identify(self, request: web.Request) -> Identity:
        """Return whose request it is, by its Authorization header.

        Raises:
            problems.Unauthenticated: There is no key, or none that is good.
            errors.StoreUnavailable: It cannot be looked up.

        """
        if not self.enabled:
            return Identity(ANONYMOUS)
        given = request.headers.getall("Authorization", [])
        if not given:
            raise problems.Unauthenticated("This needs an API key")
        found = _BEARER.fullmatch(given[0])
        if len(given) > 1 or found is None:
            raise problems.Unauthenticated(
                "The Authorization header is not `Bearer` followed by one key", invalid=True
            )
        return await self.identify_secret(found[1])

    async def identify_secret(self, secret: str) -> Identity:
        """Return whose key it is; the errors are those of `identify`."""
        if not looks_like_a_key(secret):
            raise problems.Unauthenticated("This is not a valid API key", invalid=True)
        digest, now = digest_of_secret(secret), time.monotonic()
        known = self._known.get(digest)
        if known is None or now - known.checked_at > TRUST_SECONDS:
            known = await self._look_up(digest, now)
        known.used_at = now
        return Identity(known.key.owner, known.key)

    async def _look_up(self, digest: str, now: float) -> _Known:
        found = await self._store.find_keys([digest])
        good = [key for key in found if key.revoked_at is None]
        if not good:
            raise problems.Unauthenticated("Unknown or revoked API key", invalid=True)
        known = self._known.get(digest)
        if known is None:
            quota = Quota(self._settings.max_key_subscriptions)
            known = self._known.setdefault(digest, _Known(good[0], now, now, quota))
        known.key, known.checked_at = good[0], now
        return known

    def check_origin(self, request: web.Request) -> None:
        """Refuse the WebSocket of a page of another site that is not on the list."""
        origin = request.headers.get("Origin")
        if origin is None or origin in self._origins:
            return
        if urllib.parse.urlsplit(origin).netloc != request.host:
            raise problems.OriginRefused(origin=origin)

    def open_socket(self, identity: Identity, close: Callable[[], Awaitable[None]]) -> Quota:
        """Count a socket for its key; return the key's subscriptions.

        Raises:
            problems.TooManySockets: The key has as many here as it may.
            problems.Unauthenticated: The key has just been revoked.

        """
        if identity.key is None:
            return self._free
        known = self._known.get(identity.key.digest)
        if known is None:  # it was revoked a moment ago
            raise problems.Unauthenticated("Unknown or revoked API key", invalid=True)
        if len(known.sockets) >= self._settings.max_key_sockets:
            raise problems.TooManySockets(limit=self._settings.max_key_sockets)
        known.sockets.add(close)
        return known.subscriptions

    def close_socket(self, identity: Identity, close: Callable[[], Awaitable[None]]) -> None:
        """Count a socket no more; twice is harmless."""
        known = self._known.get(identity.key.digest) if identity.key else None
        if known is not None:
            known.sockets.discard(close)

    async def _recheck_forever(self) -> None:
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            try:
                await self.recheck()
            except errors.StoreUnavailable as error:
                log.warning("Keys cannot be checked again", why=str(error))

    async def recheck(self) -> None:
        """Ask the store about every key in use; close the sockets of those that are not good now."""
        now = time.monotonic()
        for digest, known in list(self._known.items()):
            if not known.sockets and now - known.used_at > FORGET_SECONDS:
                del self._known[digest]
        asked = list(self._known)
        found = {key.digest: key for key in await self._store.find_keys(asked)} if asked else {}
        gone: list[_Known] = []
        for digest in asked:
            key = found.get(digest)
            if key is None or key.revoked_at is not None:
                gone.append(self._known.pop(digest))
            else:
                self._known[digest].key, self._known[digest].checked_at = key, now
        closing: Iterable[Awaitable[None]] = (
            close() for known in gone for close in list(known.sockets)
        )
        await asyncio.gather(*closing)


DOORKEEPER = web.AppKey("DOORKEEPER", Doorkeeper)


async def admit(request: web.Request, access: Access) -> None:
    """Find out whose request it is and whether it may come in; what it needs is kept with it.

    Raises:
        problems.Unauthenticated: There is no good key.
        problems.NotAllowed: The key does not open this.

    """
    if access is Access.PUBLIC:
        return
    try:
        identity = await request.app[DOORKEEPER].identify(request)
        if access is Access.OPERATOR and identity.key is not None and not identity.key.operator:
            raise problems.NotAllowed(path=request.path)
    except problems.RequestError as error:
        metrics.REFUSED.labels(problems.name_of(error)).inc()
        raise
    request[IDENTITY] = identity


def check_exposure(settings: Settings) -> None:
    """Refuse to serve everybody who can reach a public address, unless that was asked for."""
    if settings.keys or settings.insecure or is_loopback(settings.host):
        return
    raise errors.SettingError(
        name="FACTORLINE_HOST",
        value=settings.host,
        why="everybody who reaches this address could use the service. Make a key with `factorline "
        "keys make NAME` and set FACTORLINE_KEYS=true; or, if everybody may, start it with "
        "--insecure or FACTORLINE_INSECURE=true",
    )
