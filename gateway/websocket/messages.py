"""The frames of `factorline.v1`: JSON objects told apart by their ``type``."""

import msgspec

from gateway.views.models import Problem, TaskView


class Authenticate(msgspec.Struct, frozen=True, kw_only=True, tag="authenticate"):
    """Show an API key, within 5 seconds: for browsers, which cannot send it with the handshake."""

    key: str
    id: str | int | None = None


class Subscribe(msgspec.Struct, frozen=True, kw_only=True, tag="subscribe"):
    """Follow tasks: each gets one snapshot, updates, and one done."""

    task_ids: list[str]
    id: str | int | None = None


class Unsubscribe(msgspec.Struct, frozen=True, kw_only=True, tag="unsubscribe"):
    """Stop following tasks."""

    task_ids: list[str]
    id: str | int | None = None


class Ping(msgspec.Struct, frozen=True, kw_only=True, tag="ping"):
    """Ask for a pong."""

    id: str | int | None = None


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a socket may ask for."""

    subscriptions: int
    frame_bytes: int


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="hello"):
    """The first frame of all."""

    heartbeat_s: float
    limits: Limits
    authenticated: bool
    """Whether subscriptions are taken; else a key comes first."""


class Authenticated(
    msgspec.Struct, frozen=True, kw_only=True, tag="authenticated", omit_defaults=True
):
    """The key is good; subscriptions are taken from now on."""

    id: str | int | None = None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, tag="snapshot", omit_defaults=True):
    """A task as it is at subscription."""

    task: TaskView
    id: str | int | None = None


class Update(msgspec.Struct, frozen=True, kw_only=True, tag="update"):
    """A task that changed; versions in between may be left out."""

    task: TaskView


class Done(msgspec.Struct, frozen=True, kw_only=True, tag="done"):
    """A task that ended; the last word about it."""

    task: TaskView


class Error(msgspec.Struct, frozen=True, kw_only=True, tag="error", omit_defaults=True):
    """Something that cannot be done; the socket stays open."""

    problem: Problem
    task_id: str | None = None
    id: str | int | None = None


class Pong(msgspec.Struct, frozen=True, kw_only=True, tag="pong", omit_defaults=True):
    """The answer to a ping."""

    id: str | int | None = None


CLIENT_MESSAGES = (Authenticate, Subscribe, Unsubscribe, Ping)
SERVER_MESSAGES = (Hello, Authenticated, Snapshot, Update, Done, Error, Pong)

ClientMessage = Authenticate | Subscribe | Unsubscribe | Ping
ServerMessage = Hello | Authenticated | Snapshot | Update | Done | Error | Pong
