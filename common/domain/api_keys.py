"""API keys: 256 random bits that a client shows, of which the store keeps only a digest.

A plain SHA-256 is right for what nobody can guess; slow password hashes are for what people choose.
"""

import hashlib
import re
import secrets
from typing import NamedTuple

import msgspec

from common.domain.codec import Versioned

PREFIX = "fl_"
"""Lets people and scanners of leaked secrets see what it is."""
_SECRET = re.compile(r"fl_[A-Za-z0-9_-]{43}", re.ASCII)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)
"""What names of keys and owners are made of."""


class KeyLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What the owner of a key may use; None means no limit.

    All keys of one owner draw on the same account, so a second key is no second allowance.
    """

    requests_per_second: float | None = None
    burst: int | None = None
    """Requests at once; the requests of one second (at least one) unless told."""
    tasks: int | None = None
    """Tasks in progress."""
    cpu_seconds_a_day: float | None = None
    """Of the UTC day. When it is used up, no more tasks are taken; those in progress go on."""

    @property
    def largest_burst(self) -> float:
        """How many requests may come at once."""
        return float(self.burst or max(1.0, self.requests_per_second or 1.0))


class ApiKey(Versioned, frozen=True, kw_only=True):
    """What is kept of a key. Times are seconds since the epoch."""

    key_id: str
    """How people name the key: the beginning of its digest."""
    digest: str
    name: str
    owner: str
    """Whose tasks it opens. A key that takes another one's place has the same owner."""
    operator: bool = False
    """Whether it opens /status and /metrics as well."""
    limits: KeyLimits = KeyLimits()
    created_at: float
    revoked_at: float | None = None


class NewKey(NamedTuple):
    """A key just made; the secret is nowhere else and is shown once."""

    secret: str
    key: ApiKey


def new_key(
    name: str,
    *,
    owner: str | None = None,
    operator: bool = False,
    limits: KeyLimits | None = None,
    now: float,
) -> NewKey:
    """Return a key of 256 random bits; its owner is named like it unless told."""
    secret = PREFIX + secrets.token_urlsafe(32)
    digest = digest_of_secret(secret)
    key = ApiKey(
        key_id=digest[:12],
        digest=digest,
        name=name,
        owner=owner or name,
        operator=operator,
        limits=limits or KeyLimits(),
        created_at=now,
    )
    return NewKey(secret, key)


def digest_of_secret(secret: str) -> str:
    """Return the digest under which a key is kept, 64 hexadecimal digits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def looks_like_a_key(secret: str) -> bool:
    """Whether a text can be a key at all: nothing else need be looked up."""
    return _SECRET.fullmatch(secret) is not None
