"""The protocol of one socket without I/O: frames and tasks go in, frames come out.

    protocol = Protocol(max_subscriptions=1000, shared=quota)
    asked = protocol.receive('{"type": "subscribe", "task_ids": ["…"]}')
    ...                             # read the tasks of asked.watch, and pass each to show()
    while frame := protocol.next_frame():
        await socket.send_str(frame)

Theory of operation. For each task that is followed the protocol remembers the newest version that it has
taken (0 before the first). The first state of a task becomes a snapshot, a newer one an update, one
that is done a done frame, after which the task is forgotten; whatever else comes (an old version, the same
one again, a task that is not followed) is dropped. So a client gets one snapshot, rising updates and
one done, in whatever order events arrive.

Updates coalesce: at most one per task waits to be sent, the newest. Snapshots, endings and answers are never
dropped, so if too many of them wait, the client does not read, and the socket has to be closed.
"""

from typing import NamedTuple
from typing import Protocol as Port

import msgspec

from gateway.views import problems
from gateway.views.models import Problem, TaskView
from gateway.websocket.messages import (
    Authenticate,
    Authenticated,
    ClientMessage,
    Done,
    Error,
    Hello,
    Ping,
    Pong,
    ServerMessage,
    Snapshot,
    SocketLimits,
    Subscribe,
    Unsubscribe,
    Update,
)

JUNK_LIMIT = 20
"""Invalid frames that are answered before the socket is closed."""
FRAME_BYTES = 1 << 16
HEARTBEAT_SECONDS = 20.0
_SPARE_FRAMES = 100

_decoder: msgspec.json.Decoder[ClientMessage] = msgspec.json.Decoder(ClientMessage)
_encoder = msgspec.json.Encoder()
_BAD_REQUEST = problems.KINDS["bad-request"]
_KEY_FIRST = problems.of_kind(
    problems.KINDS["unauthenticated"],
    "The first frame must be of the type authenticate and hold an API key.",
)


class Subscriptions(Port):
    """Subscriptions that all sockets of one API key share; `gateway.access.Quota` is one."""

    def take(self, count: int) -> bool:
        """Take this many if they are free; return whether they were."""

    def give_back(self, count: int = 1) -> None:
        """Return what was taken."""


class Asked(NamedTuple):
    """What a frame asks the session to do."""

    watch: list[str]
    """Ids of tasks to begin to follow."""
    unwatch: list[str]
    """Ids of tasks to stop following."""
    key: Authenticate | None = None
    """An API key to look up. `authenticate` or `refuse_key` take the result."""


_NOTHING = Asked([], [])


class Protocol:
    """The state of one socket: whether it is authenticated, what it follows, and what waits to be sent."""

    __slots__ = (
        "_frames",
        "_ids",
        "_junk",
        "_max_subscriptions",
        "_shared",
        "_updates",
        "_versions",
    )

    def __init__(self, max_subscriptions: int, shared: Subscriptions | None) -> None:
        """Begin a socket.

        Args:
            max_subscriptions: How many tasks this socket may follow.
            shared: The subscriptions of the client's key, or None if it has to show a key first.

        """
        self._max_subscriptions = max_subscriptions
        self._shared = shared
        self._versions: dict[str, int] = {}
        self._ids: dict[str, str | int | None] = {}
        self._frames: list[ServerMessage] = []  # an empty deque takes ten times the memory
        self._updates: dict[str, Update] = {}
        self._junk = 0
        limits = SocketLimits(subscriptions=max_subscriptions, frame_bytes=FRAME_BYTES)
        self._frames.append(
            Hello(heartbeat_s=HEARTBEAT_SECONDS, limits=limits, authenticated=shared is not None)
        )

    @property
    def authenticated(self) -> bool:
        """Whether subscriptions are accepted."""
        return self._shared is not None

    def authenticate(self, shared: Subscriptions, message: Authenticate) -> None:
        """Accept subscriptions from now on: the key of a message is valid."""
        self._shared = shared
        self._frames.append(Authenticated(id=message.id))

    def refuse_key(self, problem: Problem, message: Authenticate) -> None:
        """Tell the client that the key of a message was not accepted."""
        self._junk += 1
        self._frames.append(Error(problem=problem, id=message.id))

    def end(self) -> None:
        """Give back the subscriptions of a socket that has closed."""
        for task_id in list(self._versions):
            self._forget(task_id)

    @property
    def too_much_junk(self) -> bool:
        """Whether the client has sent so many invalid frames that the socket should be closed."""
        return self._junk > JUNK_LIMIT

    @property
    def behind(self) -> bool:
        """Whether more waits to be sent than can wait for a client that reads."""
        return len(self._frames) > 2 * self._max_subscriptions + _SPARE_FRAMES

    def receive(self, data: str | bytes) -> Asked:
        """Take a frame; return what it asks for."""
        if isinstance(data, bytes):
            self._refuse("Binary frames are not supported: send JSON in text frames.")
            return _NOTHING
        try:
            message = _decoder.decode(data)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            self._refuse(f"The frame is not a valid message: {error}.")
            return _NOTHING
        match message:
            case Ping(id=message_id):
                self._frames.append(Pong(id=message_id))
            case Authenticate(id=message_id):
                if self._shared is None:
                    return Asked([], [], message)
                self._refuse("This socket is authenticated already.", message_id)
            case _ if self._shared is None:
                self._junk += 1
                self._frames.append(Error(problem=_KEY_FIRST, id=message.id))
            case Subscribe():
                return Asked(self._subscribe(message, self._shared), [])
            case Unsubscribe(task_ids=task_ids):
                return Asked([], [task_id for task_id in task_ids if self._forget(task_id)])
        return _NOTHING

    def _subscribe(self, message: Subscribe, shared: Subscriptions) -> list[str]:
        fresh = [key for key in dict.fromkeys(message.task_ids) if key not in self._versions]
        if len(self._versions) + len(fresh) > self._max_subscriptions:
            self._refuse(
                f"A socket can follow {self._max_subscriptions} tasks: unsubscribe from some first.",
                message.id,
            )
            return []
        if not shared.take(len(fresh)):
            self._refuse(
                "The sockets of this API key follow too many tasks: unsubscribe from some first.",
                message.id,
            )
            return []
        for task_id in fresh:
            self._versions[task_id] = 0
            self._ids[task_id] = message.id
        return fresh

    def show(self, view: TaskView) -> bool:
        """Take a state of a task; return whether the task is still followed."""
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
        """Tell the client that a task cannot be followed."""
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
        if followed and self._shared is not None:
            self._shared.give_back()
        return followed

    def _refuse(self, detail: str, message_id: str | int | None = None) -> None:
        self._junk += 1
        problem = problems.of_kind(_BAD_REQUEST, detail)
        self._frames.append(Error(problem=problem, id=message_id))
