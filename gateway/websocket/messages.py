"""The frames of `factorline.v1`: JSON objects that differ by their ``type``."""

from typing import Annotated

import msgspec

from gateway.views.models import Problem, TaskView

MessageId = (
    Annotated[str, msgspec.Meta(max_length=64)]
    | Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
    | None
)
"""Chosen by the client, and sent back with the answer."""
TaskId = Annotated[str, msgspec.Meta(max_length=64)]


class Authenticate(msgspec.Struct, frozen=True, kw_only=True, tag="authenticate"):
    """Show an API key, within 5 seconds: for browsers, which cannot send it with the handshake."""

    key: str
    id: MessageId = None


class Subscribe(msgspec.Struct, frozen=True, kw_only=True, tag="subscribe"):
    """Follow tasks: for each comes one snapshot, then updates, then one done."""

    task_ids: list[TaskId]
    id: MessageId = None


class Unsubscribe(msgspec.Struct, frozen=True, kw_only=True, tag="unsubscribe"):
    """Stop following tasks."""

    task_ids: list[TaskId]
    id: MessageId = None


class Ping(msgspec.Struct, frozen=True, kw_only=True, tag="ping"):
    """Ask for a pong."""

    id: MessageId = None


class SocketLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one socket may use."""

    subscriptions: int
    """Tasks that it can follow at a time."""
    frame_bytes: int
    """The largest frame that it may send."""


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="hello"):
    """The first frame that the service sends."""

    heartbeat_s: float
    limits: SocketLimits
    authenticated: bool
    """Whether subscriptions are accepted. If not, an authenticate frame has to come first."""


class Authenticated(
    msgspec.Struct, frozen=True, kw_only=True, tag="authenticated", omit_defaults=True
):
    """The API key is valid; subscriptions are accepted from now on."""

    id: MessageId = None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, tag="snapshot", omit_defaults=True):
    """A task as it is when the client subscribes."""

    task: TaskView
    id: MessageId = None


class Update(msgspec.Struct, frozen=True, kw_only=True, tag="update"):
    """A task that has changed. Versions in between may be left out."""

    task: TaskView


class Done(msgspec.Struct, frozen=True, kw_only=True, tag="done"):
    """A task that has ended. Nothing more is sent about it."""

    task: TaskView


class Error(msgspec.Struct, frozen=True, kw_only=True, tag="error", omit_defaults=True):
    """Something that cannot be done. The socket stays open."""

    problem: Problem
    task_id: str | None = None
    id: MessageId = None


class Pong(msgspec.Struct, frozen=True, kw_only=True, tag="pong", omit_defaults=True):
    """The answer to a ping."""

    id: MessageId = None


CLIENT_MESSAGES = (Authenticate, Subscribe, Unsubscribe, Ping)
SERVER_MESSAGES = (Hello, Authenticated, Snapshot, Update, Done, Error, Pong)

ClientMessage = Authenticate | Subscribe | Unsubscribe | Ping
ServerMessage = Hello | Authenticated | Snapshot | Update | Done | Error | Pong
