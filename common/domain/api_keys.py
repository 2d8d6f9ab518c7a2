"""API keys: 256 random bits that a client presents, of which the store keeps only a digest.

A plain SHA-256 is enough for a secret that nobody can guess; slow hashes are for passwords people choose.
"""

import hashlib
import re
import secrets
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from common.domain.codec import Versioned

PREFIX = "fl_"
"""Tells people, and scanners for leaked secrets, what it is."""
_SECRET = re.compile(r"fl_[A-Za-z0-9_-]{43}", re.ASCII)
KEY_ID_DIGITS = 12
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)
"""What the name of a key or of an owner may look like."""


class KeyLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What the owner of a key may use; None means no limit.

    All keys of one owner draw on the same account, so a second key does not bring a second allowance.
    """

    requests_per_second: float | None = None
    burst: int | None = None
    """Requests at once; by default those of one second, and at least one."""
    tasks: int | None = None
    """Tasks in progress."""
    cpu_seconds_a_day: float | None = None
    """Per UTC day. Once they are used up no more tasks are accepted, what waits is not begun, and long
    numbers rest until the day is over."""

    @property
    def largest_burst(self) -> float:
        """The most requests that may come at once."""
        return float(self.burst or max(1.0, self.requests_per_second or 1.0))


class ApiKey(Versioned, frozen=True, kw_only=True):
    """What the store keeps of a key. Times are in seconds since the epoch."""

    key_id: str
    """How people refer to the key: the beginning of its digest."""
    digest: str
    name: str
    owner: str
    """Whose tasks it gives access to. A key that replaces another one has the same owner."""
    operator: bool = False
    """Whether it gives access to /status and /metrics as well."""
    read_only: bool = False
    """Whether it may neither submit nor cancel."""
    networks: tuple[str, ...] = ()
    """The networks from which it may be used; none means from everywhere."""
    limits: KeyLimits = KeyLimits()
    created_at: float
    made_by: str = ""
    """Who made it, and on which machine."""
    expires_at: float | None = None
    """When it stops giving access; None if it never does."""
    revoked_at: float | None = None
    revoked_by: str = ""
    last_used_at: float | None = None
    """To a minute or so; None if it was never used."""

    def is_valid(self, now: float) -> bool:
        """Return whether the key gives access at a time."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class NewKey(NamedTuple):
    """A key that was just made. The secret is kept nowhere else, so it is shown once."""

    secret: str
    key: ApiKey


def new_key(  # noqa: PLR0913 what a key may have
    name: str,
    *,
    owner: str | None = None,
    operator: bool = False,
    read_only: bool = False,
    networks: Iterable[str] = (),
    limits: KeyLimits | None = None,
    expires_at: float | None = None,
    made_by: str = "",
    now: float,
    secret: str | None = None,
) -> NewKey:
    """Return a key of 256 random bits; its owner has the name of the key unless another is given.

    The arguments are as in `ApiKey`.
    """
    secret = secret or PREFIX + secrets.token_urlsafe(32)
    digest = digest_of_secret(secret)
    key = ApiKey(
        key_id=digest[:KEY_ID_DIGITS],
        digest=digest,
        name=name,
        owner=owner or name,
        operator=operator,
        read_only=read_only,
        networks=tuple(networks),
        limits=limits or KeyLimits(),
        created_at=now,
        made_by=made_by,
        expires_at=expires_at,
    )
    return NewKey(secret, key)


def cpu_limits(keys: Iterable[ApiKey], now: float) -> dict[str, float]:
    """Return the CPU seconds that owners may use in a day; owners without this limit are left out.

    That is the largest limit among the keys of an owner that are valid, or among all if none is.
    """
    of_owner: dict[str, list[ApiKey]] = {}
    for key in keys:
        of_owner.setdefault(key.owner, []).append(key)
    found: dict[str, float] = {}
    for owner, every in of_owner.items():
        valid = [key for key in every if key.is_valid(now)] or every
        limits = [key.limits.cpu_seconds_a_day for key in valid]
        bounded = [limit for limit in limits if limit is not None]
        if len(bounded) == len(limits):
            found[owner] = max(bounded)
    return found


def digest_of_secret(secret: str) -> str:
    """Return the digest under which a key is stored: 64 hexadecimal digits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def looks_like_a_key(secret: str) -> bool:
    """Return whether a text has the form of a key; only then is it worth looking up."""
    return _SECRET.fullmatch(secret) is not None
