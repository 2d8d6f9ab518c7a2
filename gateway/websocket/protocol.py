"""The protocol of one socket without I/O: frames and tasks go in, frames come out.

    protocol = Protocol(max_subscriptions=1000, shared=quota)
    asked = protocol.receive('{"type": "subscribe", "task_ids": ["…"]}')
    ...                             # read the tasks of asked.watch, and pass each to show()
    while (frame := protocol.next_frame()) is not None:
        ...                         # send it

Theory of operation. For each task that is followed the protocol remembers the newest version that it has
taken (0 before the first). The first state of a task becomes a snapshot, a newer one an update, one
that is done a done frame, after which the task is forgotten; whatever else comes (an old version, the same
one again, a task that is not followed) is dropped. So a client gets one snapshot, rising updates and
one done, in whatever order events arrive.

A client may subscribe to a task, unsubscribe and subscribe again while the first subscription is still
being set up. So each is an object of its own, `Subscription`, and only the current one of a task `follows`.

Updates coalesce: at most one per task waits to be sent, the newest. Snapshots, endings and answers are never
dropped. While too many of them wait the protocol is `crowded`, and its client must not be read from.
Nothing that a client sends can therefore make more wait than that, and what its subscriptions cause.
"""

from collections import deque
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
"""Invalid frames that are answered before the socket is closed. Before a key was shown every frame counts."""
WAITING_LIMIT = 100
"""Frames that wait for a client before nothing more is read from it."""
FRAME_BYTES = 1 << 16
HEARTBEAT_SECONDS = 20.0

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


class Subscription:
    """One task that a client follows, from its subscribe frame until it is done or unsubscribed."""

    __slots__ = ("message_id", "task_id", "version")

    def __init__(self, task_id: str, message_id: str | int | None) -> None:
        self.task_id = task_id
        self.message_id = message_id
        self.version = 0
        """The newest version that was taken; 0 before the first."""


class Asked(NamedTuple):
    """What a frame asks the session to do."""

    watch: list[Subscription]
    """Tasks to begin to follow."""
    unwatch: list[Subscription]
    """Tasks to stop following."""
    key: Authenticate | None = None
    """An API key to look up. `authenticate` or `refuse_key` take the result."""


_NOTHING = Asked([], [])


class Protocol:
    """The state of one socket: whether it is authenticated, what it follows, and what waits to be sent."""

    __slots__ = ("_followed", "_frames", "_junk", "_max_subscriptions", "_shared", "_updates")

    def __init__(self, max_subscriptions: int, shared: Subscriptions | None) -> None:
        """Begin a socket.

        Args:
            max_subscriptions: How many tasks this socket may follow.
            shared: The subscriptions of the client's key, or None if it has to show a key first.

        """
        self._max_subscriptions = max_subscriptions
        self._shared = shared
        self._followed: dict[str, Subscription] = {}
        self._frames: deque[ServerMessage] | None = (
            None  # most sockets are idle, and it takes 760 bytes
        )
        self._updates: dict[str, Update] = {}
        self._junk = 0
        limits = SocketLimits(subscriptions=max_subscriptions, frame_bytes=FRAME_BYTES)
        self._push(
            Hello(heartbeat_s=HEARTBEAT_SECONDS, limits=limits, authenticated=shared is not None)
        )

    @property
    def authenticated(self) -> bool:
        """Whether a valid key was shown, or none is needed."""
        return self._shared is not None

    def authenticate(self, shared: Subscriptions, message: Authenticate) -> None:
        """Accept the client's key."""
        self._shared = shared
        self._junk = 0
        self._push(Authenticated(id=message.id))

    def refuse_key(self, problem: Problem, message: Authenticate) -> None:
        """Tell the client why its key is not accepted."""
        self._push(Error(problem=problem, id=message.id))

    @property
    def too_much_junk(self) -> bool:
        """Whether the client has sent so many invalid frames that it must have a fault."""
        return self._junk > JUNK_LIMIT

    @property
    def crowded(self) -> bool:
        """Whether so many frames wait to be sent that nothing more may be read from the client."""
        return self._frames is not None and len(self._frames) >= WAITING_LIMIT

    def receive_control(self) -> None:
        """Take a ping or pong of the WebSocket itself, which count like frames."""
        if self._shared is None:
            self._junk += 1

    def receive(self, data: str | bytes) -> Asked:
        """Take a frame; return what it asks for."""
        if self._shared is None:
            self._junk += 1
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
                self._push(Pong(id=message_id))
            case Authenticate(id=message_id):
                if self._shared is None:
                    return Asked([], [], message)
                self._refuse("This socket is authenticated already.", message_id)
            case _ if self._shared is None:
                self._push(Error(problem=_KEY_FIRST, id=message.id))
            case Subscribe():
                return Asked(self._subscribe(message, self._shared), [])
            case Unsubscribe(task_ids=task_ids):
                followed = map(self._followed.get, task_ids)
                return Asked([], [each for each in followed if each and self.forget(each)])
        return _NOTHING

    def _subscribe(self, message: Subscribe, shared: Subscriptions) -> list[Subscription]:
        fresh = [key for key in dict.fromkeys(message.task_ids) if key not in self._followed]
        if len(self._followed) + len(fresh) > self._max_subscriptions:
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
        subscriptions = [Subscription(task_id, message.id) for task_id in fresh]
        self._followed.update({each.task_id: each for each in subscriptions})
        return subscriptions

    def show(self, view: TaskView) -> bool:
        """Take a state of a task; return whether the task is still followed."""
        followed = self._followed.get(view.task_id)
        if followed is None:
            return False
        held = followed.version
        if held == 0:
            self._push(Snapshot(task=view, id=followed.message_id))
        if view.done:
            self.forget(followed)
            self._push(Done(task=view))
            return False
        if 0 < held < view.version:
            self._updates[view.task_id] = Update(task=view)
        followed.version = max(held, view.version)
        return True

    def follows(self, subscription: Subscription) -> bool:
        """Return whether this is the current subscription of its task."""
        return self._followed.get(subscription.task_id) is subscription

    def fail(self, subscription: Subscription, problem: Problem) -> None:
        """Tell the client that a task cannot be followed."""
        if self.forget(subscription):
            task_id, message_id = subscription.task_id, subscription.message_id
            self._push(Error(problem=problem, task_id=task_id, id=message_id))

    def forget(self, subscription: Subscription) -> bool:
        """Stop following a task; return whether this was its current subscription."""
        if not self.follows(subscription):
            return False
        del self._followed[subscription.task_id]
        self._updates.pop(subscription.task_id, None)
        if self._shared is not None:
            self._shared.give_back()
        return True

    def next_frame(self) -> bytes | None:
        """Return the text of the next frame to send, or None."""
        if self._frames:
            frame = _encoder.encode(self._frames.popleft())
            if not self._frames:
                self._frames = None
            return frame
        if self._updates:
            return _encoder.encode(self._updates.pop(next(iter(self._updates))))
        return None

    def end(self) -> None:
        """Give back every subscription: the socket has closed."""
        for followed in list(self._followed.values()):
            self.forget(followed)

    def _push(self, frame: ServerMessage) -> None:
        if self._frames is None:
            self._frames = deque()
        self._frames.append(frame)

    def _refuse(self, detail: str, message_id: str | int | None = None) -> None:
        if self._shared is not None:  # otherwise it was counted already
            self._junk += 1
        problem = problems.of_kind(_BAD_REQUEST, detail)
        self._push(Error(problem=problem, id=message_id))
