"""Who may use the service: API keys on requests and sockets.

    identity = await doorkeeper.admit(request.headers.getall("Authorization", ()), Access.OWNER)

Without keys (`Settings.keys`) everybody is the owner `anonymous` and may do everything. With them, every
route that is not public needs the header `Authorization: Bearer` with a key. An owner sees only its own
tasks, and only an operator's key opens the routes that describe the machines.

A key is looked up in the store when it is first used, and remembered. Every two seconds all remembered
keys are looked up again, in one call; the sockets of a key that has been revoked or has expired meanwhile
are closed, and its long polls end. In the same turn it is noted in the store which keys were used, once a
minute for each.

Whoever shows a valid key from an address where it may not be used gets the answer for an unknown key.
"""

import asyncio
import contextlib
import enum
import math
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

import structlog

from common import errors
from common.domain import ApiKey, digest_of_secret, looks_like_a_key
from common.domain.api_keys import KEY_ID_DIGITS
from common.runtime import audit, hosts
from common.runtime.concurrency import gather_limited
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
NOTE_SECONDS = 60.0
"""How often it is noted at most that a key was used."""
CONCURRENT_NOTES = 8
UNAUTHENTICATED_SHARE = 4
"""One in this many sockets may still owe its key, so that strangers never take all of them."""
_BEARER = re.compile(r"bearer +([!-~]+) *", re.ASCII | re.IGNORECASE)


class Access(enum.Enum):
    """What a route requires of its caller."""

    PUBLIC = "public"
    """Nothing."""
    OWNER = "owner"
    """Any valid key."""
    WRITER = "writer"
    """A valid key that was not made with --read-only."""
    OPERATOR = "operator"
    """A key that was made with --operator."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who makes a request. There is no key where keys are off."""

    owner: str
    key: ApiKey | None = None
    address: str = ""
    """Where the request comes from, as far as the gateway can tell."""

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
        metrics.SUBSCRIPTIONS.inc(count)
        return True

    def give_back(self, count: int = 1) -> None:
        """Return what was taken."""
        self.used -= count
        metrics.SUBSCRIPTIONS.dec(count)


@dataclass
class _Known:
    """A key that is in use."""

    key: ApiKey
    checked_at: float
    used_at: float
    subscriptions: Quota
    address: str = ""
    """Where it was used first."""
    noted_at: float = -math.inf
    """When it was last noted in the store that it was used."""
    sockets: set[Callable[[], Awaitable[None]]] = field(default_factory=set)
    """How to close each of the key's sockets if it is no longer valid."""
    waits: set[asyncio.Timeout] = field(default_factory=set)
    """What its requests wait for; that ends, too."""


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
        self._proxies = hosts.networks(settings.proxies)
        self._refusals = audit.Refusals()

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
            now = self._store.now()
            if not any(key.is_valid(now) for key in await self._store.list_keys()):
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
            with contextlib.suppress(errors.StoreUnavailable):
                await self._note_uses()

    def address_of(self, peer: str | None, forwarded: Sequence[str]) -> str:
        """Return where a request comes from: the nearest address that is none of our own proxies.

        Args:
            peer: The address that the connection comes from.
            forwarded: The values of the request's X-Forwarded-For headers, which proxies add to.

        """
        found = peer or ""
        for each in reversed(",".join(forwarded).split(",")):
            claimed = hosts.address(each)
            if claimed is None or not hosts.is_in(found, self._proxies):
                break
            found = str(claimed)
        return found

    async def admit(
        self, authorization: Sequence[str], access: Access, *, address: str = ""
    ) -> Identity:
        """Return who makes a request, if that caller may use the route.

        Args:
            authorization: The values of the request's Authorization headers.
            access: What the route requires.
            address: Where the request comes from.

        Raises:
            problems.Unauthenticated: There is no key, or it is not valid, or it may not be used there.
            problems.NotAllowed: The key is valid, and the route needs another kind of key.
            errors.StoreUnavailable: The key cannot be looked up.

        """
        try:
            identity = await self._identify(authorization, address)
            if identity.key is not None:
                self._check_access(identity.key, access, address)
        except problems.RequestError as error:
            metrics.REFUSED.labels(problems.name_of(error)).inc()
            raise
        return identity

    async def _identify(self, authorization: Sequence[str], address: str) -> Identity:
        if not self.enabled:
            return Identity(ANONYMOUS, address=address)
        if not authorization:
            raise problems.Unauthenticated("This needs an API key")
        found = _BEARER.fullmatch(authorization[0])
        if len(authorization) > 1 or found is None:
            self._note_refusal("malformed", address)
            raise problems.Unauthenticated(
                "The Authorization header is not `Bearer` followed by one key", invalid=True
            )
        return await self.identify_secret(found[1], address=address)

    def _check_access(self, key: ApiKey, access: Access, address: str) -> None:
        if access is Access.OPERATOR and not key.operator:
            self._note_refusal("not an operator's", address, key)
            raise problems.NotAllowed
        if access is Access.WRITER and key.read_only:
            self._note_refusal("read-only", address, key)
            raise problems.ReadOnlyKey

    async def identify_secret(self, secret: str, *, address: str = "") -> Identity:
        """Return whose key this is.

        Args:
            secret: The key.
            address: Where it is used.

        Raises:
            problems.Unauthenticated: It is not a valid key, or may not be used there.
            errors.StoreUnavailable: It cannot be looked up.

        """
        if not looks_like_a_key(secret):
            self._note_refusal("malformed", address)
            raise problems.Unauthenticated("This is not an API key", invalid=True)
        digest, now = digest_of_secret(secret), time.monotonic()
        known = self._known.get(digest)
        key = known.key if known is not None else None
        checked_at = known.checked_at if known is not None else -math.inf
        # What is not valid is always looked up: how long that takes does not tell why it is refused.
        if self._why_refused(key, address) or now - checked_at > TRUST_SECONDS:
            key, checked_at = next(iter(await self._find([digest])), None), now
        why = self._why_refused(key, address)
        if key is None or why is not None:
            self._note_refusal(why or "", address, key, key_id=digest[:KEY_ID_DIGITS])
            raise _unknown()
        known = self._known.get(digest)
        if known is None:
            quota = Quota(self._settings.max_key_subscriptions)
            known = self._known[digest] = _Known(key, now, now, quota, address)
        known.key, known.checked_at, known.used_at = key, checked_at, now
        return Identity(key.owner, key, address)

    def _why_refused(self, key: ApiKey | None, address: str) -> str | None:
        """Return why a key does not give access from an address, or None if it does."""
        if key is None:
            return "unknown"
        if key.revoked_at is not None:
            return "revoked"
        if not key.is_valid(self._store.now()):
            return "expired"
        allowed = [network for each in key.networks for network in hosts.networks(each)]
        return "elsewhere" if allowed and not hosts.is_in(address, allowed) else None

    def _note_refusal(
        self, why: str, address: str, key: ApiKey | None = None, *, key_id: str = ""
    ) -> None:
        named = {"key_id": key.key_id, "owner": key.owner} if key else {"key_id": key_id}
        self._refusals.record("API key refused", why=why, address=address, **named)

    def open_socket(self, identity: Identity, close: Callable[[], Awaitable[None]]) -> Quota:
        """Count a socket of a key; return the subscriptions that the key's sockets share.

        Args:
            identity: Who opens it.
            close: Closes the socket. It is called once the key is no longer valid.

        Raises:
            problems.TooManySockets: The key has as many sockets here as it may have.
            problems.Unauthenticated: The key has just been revoked.

        """
        if identity.key is None:
            return self._unlimited
        known = self._known.get(identity.key.digest)
        if known is None:  # it was revoked a moment ago
            raise _unknown()
        if len(known.sockets) >= self._settings.max_key_sockets:
            raise problems.TooManySockets(limit=self._settings.max_key_sockets)
        known.sockets.add(close)
        return known.subscriptions

    def close_socket(self, identity: Identity, close: Callable[[], Awaitable[None]]) -> None:
        """Stop counting a socket. Calling it again does nothing."""
        known = self._known.get(identity.key.digest) if identity.key else None
        if known is not None:
            known.sockets.discard(close)

    @contextlib.asynccontextmanager
    async def while_valid(self, identity: Identity) -> AsyncIterator[None]:
        """End what a request waits for once its key is no longer valid.

        Raises:
            problems.Unauthenticated: That has happened.

        """
        known = self._known.get(identity.key.digest) if identity.key else None
        if known is None:
            if identity.key is not None:  # it was revoked a moment ago
                raise _unknown()
            yield
            return
        waiting = asyncio.timeout(None)
        try:
            async with waiting:
                known.waits.add(waiting)
                try:
                    yield
                finally:
                    known.waits.discard(waiting)
        except TimeoutError:
            if waiting.expired():
                raise _unknown() from None
            raise

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
        """Look up every key in use again; end the sockets and long polls of those that are no longer valid.

        Raises:
            errors.StoreUnavailable: The keys cannot be looked up.

        """
        now = time.monotonic()
        for digest, known in list(self._known.items()):
            if not known.sockets and now - known.used_at > FORGET_SECONDS:
                del self._known[digest]
        asked = list(self._known)
        found = {key.digest: key for key in await self._find(asked)} if asked else {}
        over: list[_Known] = []
        for digest in asked:
            known, key = self._known[digest], found.get(digest)
            known.checked_at = now
            if key is not None:
                known.key = key
            if key is None or not key.is_valid(self._store.now()):
                over.append(self._known.pop(digest))
                _record_end(known)
                for waiting in known.waits:
                    waiting.reschedule(asyncio.get_running_loop().time())
        closing: Iterable[Awaitable[None]] = (
            close() for known in over for close in list(known.sockets)
        )
        await asyncio.gather(*closing)
        await self._note_uses()

    async def _note_uses(self) -> None:
        """Note in the store which keys were used."""
        now = time.monotonic()
        fresh = [
            known
            for known in self._known.values()
            if known.used_at > known.noted_at and now - known.noted_at >= NOTE_SECONDS
        ]
        await gather_limited(self._note_use, fresh, limit=CONCURRENT_NOTES)

    async def _note_use(self, known: _Known) -> None:
        now, key = time.monotonic(), known.key
        first = await self._store.mark_key_used(key.digest, self._store.now() - now + known.used_at)
        known.noted_at = now
        if first:
            audit.record(
                "API key used for the first time",
                key_id=key.key_id,
                name=key.name,
                owner=key.owner,
                made_by=key.made_by,
                address=known.address,
            )

    async def _find(self, digests: Sequence[str]) -> list[ApiKey]:
        """Return the keys with these digests, without those that cannot be read."""
        try:
            return await self._store.find_keys(digests)
        except errors.Malformed as error:
            if len(digests) == 1:
                log.warning("An API key cannot be read, and is refused", why=str(error))
                return []
        return [key for digest in digests for key in await self._find([digest])]


def _unknown() -> problems.Unauthenticated:
    return problems.Unauthenticated("Unknown, expired or revoked API key", invalid=True)


def _record_end(known: _Known) -> None:
    key = known.key
    audit.record(
        "API key no longer valid",
        why="revoked" if key.revoked_at is not None else "expired",
        key_id=key.key_id,
        owner=key.owner,
        revoked_by=key.revoked_by,
        sockets=len(known.sockets),
    )


def check_exposure(settings: Settings) -> None:
    """Refuse to serve a public address without keys, unless the operator asked for it.

    Raises:
        errors.SettingError: The address is not loopback, and anybody could use the service.

    """
    reached = settings.published or settings.host
    if settings.keys or settings.insecure or hosts.is_loopback(reached.strip("[]")):
        return
    raise errors.SettingError(
        name="FACTORLINE_PUBLISHED" if settings.published else "FACTORLINE_HOST",
        value=reached,
        why="everybody who can reach this address could use the service. Make a key with "
        "`factorline keys make NAME` and set FACTORLINE_KEYS=true; or, if everybody may use it, start "
        "it with --insecure or FACTORLINE_INSECURE=true",
    )
