"""Who may use the service: API keys on requests and sockets.

    identity = await doorkeeper.admit(request.headers.getall("Authorization", ()), Access.OWNER)

Without keys (`Settings.keys`) everybody is the owner `anonymous` and may do everything. With them, every
route that is not public needs the header `Authorization: Bearer` with a key. An owner sees only its own
tasks, and only an operator's key opens the routes that describe the machines.

A key is looked up in the store when it is first used, and remembered. Every two seconds all remembered
keys are looked up again, in one call; the sockets of a key that has been revoked meanwhile are closed.
"""

import asyncio
import contextlib
import enum
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

import structlog

from common import errors
from common.domain import ApiKey, digest_of_secret, looks_like_a_key
from common.runtime.hosts import is_loopback
from common.runtime.settings import Settings
from common.store import Store
from gateway import metrics
from gateway.access import first_key
from gateway.views import problems

log = structlog.stdlib.get_logger(__name__)

ANONYMOUS = "anonymous"
RECHECK_SECONDS = 2.0
"""How often keys in use are looked up again: a revoked key works this much longer at most."""
TRUST_SECONDS = 10.0
"""How long a key is accepted without a new look-up while the store is down."""
FORGET_SECONDS = 60.0
"""A key without sockets that was not used for so long is forgotten."""
UNAUTHENTICATED_SHARE = 4
"""One in this many sockets may still owe its key, so that strangers never take all of them."""
_BEARER = re.compile(r"bearer +([!-~]+) *", re.ASCII | re.IGNORECASE)


class Access(enum.Enum):
    """What a route requires of its caller."""

    PUBLIC = "public"
    """Nothing."""
    OWNER = "owner"
    """Any valid key."""
    OPERATOR = "operator"
    """A key that was made with --operator."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who makes a request. There is no key where keys are off."""

    owner: str
    key: ApiKey | None = None

    @property
    def fields(self) -> dict[str, str]:
        """Header fields that tell a balancer whose requests are whose; it keeps them to itself."""
        return {} if self.key is None else {"Factorline-Key": "valid"}


class Quota:
    """How many subscriptions the sockets of one key share in this gateway."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def take(self, count: int) -> bool:
        """Take this many if they are free; return whether they were."""
        if self.used + count > self.limit:
            return False
        self.used += count
        return True

    def give_back(self, count: int = 1) -> None:
        """Return what was taken."""
        self.used -= count


@dataclass
class _Known:
    """A key that is in use."""

    key: ApiKey
    checked_at: float
    used_at: float
    subscriptions: Quota
    sockets: set[Callable[[], Awaitable[None]]] = field(default_factory=set)
    """How to close each of the key's sockets if it is revoked."""


class Doorkeeper:
    """Checks API keys, and remembers those that are in use."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self.enabled = settings.keys
        self._settings = settings
        self._store = store
        self._known: dict[str, _Known] = {}
        self._rechecking: asyncio.Task[None] | None = None
        file = settings.key_file
        self._first_key = first_key.read(file) if self.enabled and file else None
        """The key that is yet to be entered into the store."""
        self.unauthenticated = 0
        """Sockets that have not shown a key yet."""
        self._unlimited = Quota(settings.max_sockets * settings.max_subscriptions)

    @property
    def crowded(self) -> bool:
        """Whether too many sockets have not shown a key yet for another one to be accepted."""
        return self.unauthenticated * UNAUTHENTICATED_SHARE >= self._settings.max_sockets

    async def start(self) -> None:
        """Begin to look for revoked keys; enter the first key; warn if there is no valid key at all."""
        if not self.enabled:
            return
        self._rechecking = asyncio.create_task(self._recheck_forever())
        with contextlib.suppress(errors.StoreUnavailable):
            await self._enter_first_key()
            if all(key.revoked_at is not None for key in await self._store.list_keys()):
                log.warning("There is no valid API key yet: make one with `factorline keys make`")

    async def _enter_first_key(self) -> None:
        if self._first_key is None:
            return
        entered = await first_key.enter(self._first_key, self._store)
        self._first_key = None
        if entered is not None:
            log.info("Entered the first API key into the store", key=entered.key_id)

    async def stop(self) -> None:
        """Stop looking for revoked keys."""
        if self._rechecking is not None:
            self._rechecking.cancel()
            await asyncio.gather(self._rechecking, return_exceptions=True)

    async def admit(self, authorization: Sequence[str], access: Access) -> Identity:
        """Return who makes a request, if that caller may use the route.

        Args:
            authorization: The values of the request's Authorization headers.
            access: What the route requires.

        Raises:
            problems.Unauthenticated: There is no key, or it is not valid.
            problems.NotAllowed: The key is valid, and the route needs an operator's.
            errors.StoreUnavailable: The key cannot be looked up.

        """
        try:
            identity = await self._identify(authorization)
            if access is Access.OPERATOR and identity.key is not None and not identity.key.operator:
                raise problems.NotAllowed
        except problems.RequestError as error:
            metrics.REFUSED.labels(problems.name_of(error)).inc()
            raise
        return identity

    async def _identify(self, authorization: Sequence[str]) -> Identity:
        if not self.enabled:
            return Identity(ANONYMOUS)
        if not authorization:
            raise problems.Unauthenticated("This needs an API key")
        found = _BEARER.fullmatch(authorization[0])
        if len(authorization) > 1 or found is None:
            raise problems.Unauthenticated(
                "The Authorization header is not `Bearer` followed by one key", invalid=True
            )
        return await self.identify_secret(found[1])

    async def identify_secret(self, secret: str) -> Identity:
        """Return whose key this is.

        Raises:
            problems.Unauthenticated: It is not a valid key.
            errors.StoreUnavailable: It cannot be looked up.

        """
        if not looks_like_a_key(secret):
            raise problems.Unauthenticated("This is not an API key", invalid=True)
        digest, now = digest_of_secret(secret), time.monotonic()
        known = self._known.get(digest)
        if known is None or now - known.checked_at > TRUST_SECONDS:
            known = await self._look_up(digest, now)
        known.used_at = now
        return Identity(known.key.owner, known.key)

    async def _look_up(self, digest: str, now: float) -> _Known:
        found = await self._find([digest])
        valid = [key for key in found if key.revoked_at is None]
        if not valid:
            raise problems.Unauthenticated("Unknown or revoked API key", invalid=True)
        known = self._known.get(digest)
        if known is None:
            quota = Quota(self._settings.max_key_subscriptions)
            known = self._known.setdefault(digest, _Known(valid[0], now, now, quota))
        known.key, known.checked_at = valid[0], now
        return known

    def open_socket(self, identity: Identity, close: Callable[[], Awaitable[None]]) -> Quota:
        """Count a socket of a key; return the subscriptions that the key's sockets share.

        Args:
            identity: Who opens it.
            close: Closes the socket. It is called if the key is revoked.

        Raises:
            problems.TooManySockets: The key has as many sockets here as it may have.
            problems.Unauthenticated: The key has just been revoked.

        """
        if identity.key is None:
            return self._unlimited
        known = self._known.get(identity.key.digest)
        if known is None:  # it was revoked a moment ago
            raise problems.Unauthenticated("Unknown or revoked API key", invalid=True)
        if len(known.sockets) >= self._settings.max_key_sockets:
            raise problems.TooManySockets(limit=self._settings.max_key_sockets)
        known.sockets.add(close)
        return known.subscriptions

    def close_socket(self, identity: Identity, close: Callable[[], Awaitable[None]]) -> None:
        """Stop counting a socket. Calling it again does nothing."""
        known = self._known.get(identity.key.digest) if identity.key else None
        if known is not None:
            known.sockets.discard(close)

    async def _recheck_forever(self) -> None:
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            try:
                await self._enter_first_key()
                await self.recheck()
            except errors.StoreUnavailable as error:
                log.warning("API keys could not be checked for revocation", why=error.why)
            except Exception:  # it must go on: a revoked key would work for ever
                log.exception("API keys could not be checked for revocation")

    async def recheck(self) -> None:
        """Look up every key in use again; close the sockets of those that are no longer valid.

        Raises:
            errors.StoreUnavailable: The keys cannot be looked up.

        """
        now = time.monotonic()
        for digest, known in list(self._known.items()):
            if not known.sockets and now - known.used_at > FORGET_SECONDS:
                del self._known[digest]
        asked = list(self._known)
        found = {key.digest: key for key in await self._find(asked)} if asked else {}
        revoked: list[_Known] = []
        for digest in asked:
            key = found.get(digest)
            if key is None or key.revoked_at is not None:
                revoked.append(self._known.pop(digest))
            else:
                self._known[digest].key, self._known[digest].checked_at = key, now
        closing: Iterable[Awaitable[None]] = (
            close() for known in revoked for close in list(known.sockets)
        )
        await asyncio.gather(*closing)

    async def _find(self, digests: Sequence[str]) -> list[ApiKey]:
        """Return the keys with these digests, without those that cannot be read."""
        try:
            return await self._store.find_keys(digests)
        except errors.Malformed as error:
            if len(digests) == 1:
                log.warning("An API key cannot be read, and is refused", why=str(error))
                return []
        return [key for digest in digests for key in await self._find([digest])]


def check_exposure(settings: Settings) -> None:
    """Refuse to serve a public address without keys, unless the operator asked for it.

    Raises:
        errors.SettingError: The address is not loopback, and anybody could use the service.

    """
    reached = settings.published or settings.host
    if settings.keys or settings.insecure or is_loopback(reached.strip("[]")):
        return
    raise errors.SettingError(
        name="FACTORLINE_PUBLISHED" if settings.published else "FACTORLINE_HOST",
        value=reached,
        why="everybody who can reach this address could use the service. Make a key with "
        "`factorline keys make NAME` and set FACTORLINE_KEYS=true; or, if everybody may use it, start "
        "it with --insecure or FACTORLINE_INSECURE=true",
    )
