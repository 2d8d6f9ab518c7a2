"""Watches tasks until they are done, over a WebSocket or, while that does not work, by polling.

Theory of operation: a watch is a loop of rounds. A round either listens on one WebSocket until that
ends, or polls every task once. Between rounds the only state is a `Following`: which tasks are not done
and which version of each was reported last. It does not matter how a round ends, because the service
answers a subscription with a snapshot of the task, so the next round misses nothing.

What follows a WebSocket depends on its close code (`factorline.backoff.advice`): reconnect with
backoff, poll for a while, or never open another one.
"""

import asyncio
import contextlib
import logging
import random
import time
import urllib.parse
from collections.abc import AsyncGenerator, Iterable

import aiohttp
import msgspec

from factorline.backoff import Advice, Backoff, advice
from factorline.checking import checked
from factorline.errors import Unavailable, Unreachable, refused
from factorline.following import Following
from factorline.models import Problem, Task
from factorline.transport import Response, Transport

log = logging.getLogger(__name__)

HELLO_SECONDS = 10.0
QUIET_SECONDS = 60.0
"""A socket that is silent for this long is replaced; the new one starts with a snapshot."""
POLLING_SECONDS = 30.0
"""How long to poll before trying a socket again, give or take half."""
LONG_POLL_SECONDS = 20.0
LONG_POLL_PAUSE_SECONDS = 0.2
POLL_PAUSE_SECONDS = 1.0
CONCURRENT_POLLS = 8
FRAME_TASKS = 100
"""Ids in one frame, which may be 64 KiB long."""
NOT_MODIFIED = 304
SERVER_FAULT = 500


class _Interrupted(Exception):
    """The service reported a fault of its own on a socket; the next one may work."""


class _Limits(msgspec.Struct, frozen=True, kw_only=True):
    subscriptions: int


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """Any frame that the service sends; its type says which members it has."""

    type: str
    limits: _Limits | None = None
    authenticated: bool = True
    task: Task | None = None
    task_id: str | None = None
    problem: Problem | None = None


_ENDINGS = (
    aiohttp.ClientError,
    OSError,  # TimeoutError is one
    TypeError,  # aiohttp's WSMessageTypeError: a close frame instead of a text frame
    msgspec.DecodeError,
    _Interrupted,
)


class Watch:
    """One call of `Client.watch`."""

    def __init__(
        self, transport: Transport, task_ids: Iterable[str], *, retry_for_s: float, outage_s: float
    ) -> None:
        self._transport = transport
        self._following = Following(task_ids)
        self._retry_for_s = retry_for_s
        self._outage_s = outage_s
        self._answered_at = time.monotonic()
        self._backoff = Backoff()
        self._sockets = True
        """Whether sockets may be used at all; a close code 40xx ends that."""
        self._poll_until = 0.0
        self._outage_logged = False

    async def states(self) -> AsyncGenerator[Task, None]:
        """Yield every new state of the tasks until all are done.

        Raises:
            UnknownTask: One of the tasks does not exist, or no longer.
            Unreachable: The service did not answer for `outage_s`, or for `retry_for_s` if it never has.
            Unavailable: The same, but the last answers said that it cannot serve.
            WrongAnswer: The factors of a task do not multiply to its number.

        """
        while self._following.waiting:
            polling = not self._sockets or time.monotonic() < self._poll_until
            round_ = self._poll_round() if polling else self._socket_round()
            async with contextlib.aclosing(round_):
                async for task in round_:
                    self._note_answer()
                    if self._following.take(checked(task)):
                        self._backoff.reset()
                        yield task

    def _note_answer(self) -> None:
        if self._outage_logged:
            log.warning("%s answers again.", self._transport.url)
        self._outage_logged = False
        self._answered_at = time.monotonic()

    async def _socket_round(self) -> AsyncGenerator[Task, None]:
        """Yield the states that one socket sends until it ends, then decide what to do next."""
        try:
            socket = await self._transport.socket()
        except (aiohttp.ClientError, OSError, TimeoutError):
            self._poll_for_a_while()
            return
        greeted = False
        self._transport.answered = True
        async with socket:
            try:
                async with asyncio.timeout(HELLO_SECONDS):
                    hello = _decoded(await socket.receive_str())
                greeted = True
                self._note_answer()
                self._following.connected(hello.limits.subscriptions if hello.limits else 1)
                async for task in self._frames(socket):
                    yield task
            except _ENDINGS:
                pass  # silent, cut or closed: the close code, if there is one, says what to do
        await self._after_socket(advice(socket.close_code), greeted=greeted)

    async def _frames(
        self, socket: aiohttp.ClientWebSocketResponse[bool]
    ) -> AsyncGenerator[Task, None]:
        while self._following.waiting:
            fresh = self._following.to_subscribe()
            for first in range(0, len(fresh), FRAME_TASKS):
                ids = fresh[first : first + FRAME_TASKS]
                await socket.send_json({"type": "subscribe", "task_ids": ids})
            async with asyncio.timeout(QUIET_SECONDS):
                frame = _decoded(await socket.receive_str())
            if frame.task is not None:
                yield frame.task
            elif frame.problem is not None and frame.problem.status >= SERVER_FAULT:
                raise _Interrupted
            elif frame.problem is not None:
                raise refused(frame.problem)

    async def _after_socket(self, what: Advice, *, greeted: bool) -> None:
        if not self._following.waiting:
            return
        if what is Advice.STAY_AWAY:
            self._sockets = False
        elif what is Advice.BACK_OFF or (what is Advice.RETRY and not greeted):
            self._poll_for_a_while()
        else:
            await self._pause(Unreachable(self._transport.url, "the connection was lost"))

    def _poll_for_a_while(self) -> None:
        seconds = POLLING_SECONDS * random.uniform(0.5, 1.5)  # noqa: S311 no secret
        self._poll_until = time.monotonic() + seconds

    async def _poll_round(self) -> AsyncGenerator[Task, None]:
        """Yield the state of every task once, then wait as long as the service asks."""
        waiting = self._following.waiting
        alone = len(waiting) == 1
        pause_s = LONG_POLL_PAUSE_SECONDS if alone else POLL_PAUSE_SECONDS
        try:
            for first in range(0, len(waiting), CONCURRENT_POLLS):
                few = waiting[first : first + CONCURRENT_POLLS]
                for found in await asyncio.gather(*(self._poll(key, wait=alone) for key in few)):
                    self._note_answer()
                    if found.status != NOT_MODIFIED:
                        pause_s = max(pause_s, found.retry_after_s)
                        yield found.read(Task)
        except (Unreachable, Unavailable) as error:
            self._poll_until = 0.0  # when the service is back, sockets may work
            await self._pause(error)
            return
        if self._following.waiting:
            await asyncio.sleep(pause_s)

    async def _poll(self, task_id: str, *, wait: bool) -> Response:
        version = self._following.version(task_id)
        seconds = LONG_POLL_SECONDS if wait and version >= 0 else 0.0
        return await self._transport.request(
            "GET",
            f"/tasks/{urllib.parse.quote(task_id, safe='')}",
            params={"wait": f"{seconds:g}"} if seconds else None,
            headers={"If-None-Match": f'"{version}"'} if version >= 0 else None,
            wait_s=seconds,
            retry_for_s=0.0,
        )

    async def _pause(self, failure: Unreachable | Unavailable) -> None:
        """Wait before the next round; raise the failure if the service has been silent for too long."""
        asked_s = failure.retry_after_s if isinstance(failure, Unavailable) else 0.0
        pause_s = self._backoff.next_s(at_least_s=asked_s)
        allowed_s = self._outage_s if self._transport.answered else self._retry_for_s
        if time.monotonic() + pause_s - self._answered_at > allowed_s:
            raise failure
        if not self._outage_logged:
            log.warning("%s does not answer; trying again until it does.", self._transport.url)
        self._outage_logged = True
        await asyncio.sleep(pause_s)


def _decoded(text: str | bytes) -> Frame:
    return msgspec.json.decode(text, type=Frame)
