"""The protocol as a sans-I/O object: frames and views in, frames out, no socket anywhere.

Updates coalesce: what waits to be sent holds one update a task, the newest. Snapshots, endings and
answers are never dropped; too many of them waiting means that the client does not read.
"""

from typing import NamedTuple
from typing import Protocol as Shape

import msgspec

from gateway.views.models import Problem, TaskView
from gateway.websocket.messages import (
    Authenticate,
    Authenticated,
    ClientMessage,
    Done,
    Error,
    Hello,
    Limits,
    Ping,
    Pong,
    ServerMessage,
    Snapshot,
    Subscribe,
    Unsubscribe,
    Update,
)

JUNK_LIMIT = 20
"""Frames that may be beyond understanding before the socket is closed."""
FRAME_BYTES = 1 << 16
HEARTBEAT_SECONDS = 20.0
_SPARE_FRAMES = 100

_decoder: msgspec.json.Decoder[ClientMessage] = msgspec.json.Decoder(ClientMessage)
_encoder = msgspec.json.Encoder()
_KEY_FIRST = Problem(
    type="/problems/unauthenticated",
    title="This needs an API key",
    status=401,
    detail="Send a frame of the type authenticate with the key before any other.",
)


class Places(Shape):
    """Subscriptions that several sockets share."""

    def take(self, count: int) -> bool:
        """Take places if there are so many."""

    def give(self, count: int = 1) -> None:
        """Give places back."""


class Heard(NamedTuple):
    """What a frame asks the shell to do."""

    begin: list[str]
    """Ids of tasks to follow."""
    stop: list[str]
    """Ids of tasks to follow no more."""
    key: Authenticate | None = None
    """A key to be looked up; `authenticate` or `refuse_key` tell the protocol how that ended."""


_NOTHING = Heard([], [])


class Protocol:
    """The state of one socket: whether it is let in, what it follows, and what waits to be sent."""

    __slots__ = (
        "_frames",
        "_ids",
        "_junk",
        "_max_subscriptions",
        "_places",
        "_updates",
        "_versions",
    )

    def __init__(self, max_subscriptions: int, places: Places | None) -> None:
        """Begin; without places the client has to authenticate first."""
        self._max_subscriptions = max_subscriptions
        self._places = places
        self._versions: dict[str, int] = {}
        self._ids: dict[str, str | int | None] = {}
        self._frames: list[ServerMessage] = []  # an empty deque takes ten times the memory
        self._updates: dict[str, Update] = {}
        self._junk = 0
        limits = Limits(subscriptions=max_subscriptions, frame_bytes=FRAME_BYTES)
        self._frames.append(
            Hello(heartbeat_s=HEARTBEAT_SECONDS, limits=limits, authenticated=places is not None)
        )

    @property
    def authenticated(self) -> bool:
        """Whether the client is let in."""
        return self._places is not None

    def authenticate(self, places: Places, message: Authenticate) -> None:
        """Let the client in."""
        self._places = places
        self._frames.append(Authenticated(id=message.id))

    def refuse_key(self, problem: Problem, message: Authenticate) -> None:
        """Take the news that a key opens nothing."""
        self._junk += 1
        self._frames.append(Error(problem=problem, id=message.id))

    def leave(self) -> None:
        """Give back the places of what is followed: the socket is closed."""
        for task_id in list(self._versions):
            self._forget(task_id)

    @property
    def too_much_junk(self) -> bool:
        """Whether the client has sent more nonsense than is borne."""
        return self._junk > JUNK_LIMIT

    @property
    def behind(self) -> bool:
        """Whether more waits to be sent than a client that reads leaves waiting."""
        return len(self._frames) > 2 * self._max_subscriptions + _SPARE_FRAMES

    def receive(self, data: str | bytes) -> Heard:
        """Take a frame; return what it asks for."""
        if isinstance(data, bytes):
            self._refuse("binary frames have no meaning here: send JSON in text frames")
            return _NOTHING
        try:
            message = _decoder.decode(data)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            self._refuse(f"the frame is no message: {error}")
            return _NOTHING
        match message:
            case Ping(id=message_id):
                self._frames.append(Pong(id=message_id))
            case Authenticate(id=message_id):
                if self._places is None:
                    return Heard([], [], message)
                self._refuse("this socket is authenticated already", message_id)
            case _ if self._places is None:
                self._junk += 1
                self._frames.append(Error(problem=_KEY_FIRST, id=message.id))
            case Subscribe():
                return Heard(self._subscribe(message, self._places), [])
            case Unsubscribe(task_ids=task_ids):
                return Heard([], [task_id for task_id in task_ids if self._forget(task_id)])
        return _NOTHING

    def _subscribe(self, message: Subscribe, places: Places) -> list[str]:
        fresh = [key for key in dict.fromkeys(message.task_ids) if key not in self._versions]
        if len(self._versions) + len(fresh) > self._max_subscriptions:
            self._refuse(
                f"a socket can follow {self._max_subscriptions} tasks: unsubscribe some", message.id
            )
            return []
        if not places.take(len(fresh)):
            self._refuse(
                "the sockets of this key follow too many tasks: unsubscribe some", message.id
            )
            return []
        for task_id in fresh:
            self._versions[task_id] = 0
            self._ids[task_id] = message.id
        return fresh

    def show(self, view: TaskView) -> bool:
        """Take a state of a task; return False if the task is not followed (any more)."""
        held = self._versions.get(view.task_id)
        if held is None:
            return False
        if held == 0:
            self._frames.append(Snapshot(task=view, id=self._ids[view.task_id]))
        if view.done:
            self._forget(view.task_id)
            self._frames.append(Done(task=view))
            return False
        if 0 < held < view.version:
            self._updates[view.task_id] = Update(task=view)
        self._versions[view.task_id] = max(held, view.version)
        return True

    def follows(self, task_id: str) -> bool:
        """Return whether a task is followed."""
        return task_id in self._versions

    def fail(self, task_id: str, problem: Problem) -> None:
        """Take the news that a task cannot be followed."""
        message_id = self._ids.get(task_id)
        if self._forget(task_id):
            self._frames.append(Error(problem=problem, task_id=task_id, id=message_id))

    def next_frame(self) -> str | None:
        """Return the next frame to send, or None."""
        if self._frames:
            return _encoder.encode(self._frames.pop(0)).decode()
        if self._updates:
            return _encoder.encode(self._updates.pop(next(iter(self._updates)))).decode()
        return None

    def _forget(self, task_id: str) -> bool:
        self._updates.pop(task_id, None)
        self._ids.pop(task_id, None)
        followed = self._versions.pop(task_id, None) is not None
        if followed and self._places is not None:
            self._places.give()
        return followed

    def _refuse(self, detail: str, message_id: str | int | None = None) -> None:
        self._junk += 1
        problem = Problem(
            type="/problems/bad-request", title="Bad request", status=400, detail=detail
        )
        self._frames.append(Error(problem=problem, id=message_id))
