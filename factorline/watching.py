"""Follows tasks until they are done: over a WebSocket, or by polling while there is none.

Each round listens on a socket or polls; whatever ends a round, the next one resumes from what the
`Following` still awaits. The service sends a snapshot for every subscription, so nothing that
happened in between is missed.
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
"""A socket that says nothing for so long is replaced: the new one begins with the state of things."""
POLLING_SECONDS = 30.0
"""How long to poll before a socket is tried again."""
LONG_POLL_SECONDS = 20.0
LONG_POLL_PAUSE_SECONDS = 0.2
POLL_PAUSE_SECONDS = 1.0
CONCURRENT_POLLS = 8
FRAME_TASKS = 100
"""Ids in one frame: a frame is 64 KiB at most."""
NOT_MODIFIED = 304
SERVER_FAULT = 500


class _Interrupted(Exception):
    """A socket says that it cannot serve just now: another one may."""


class _Limits(msgspec.Struct, frozen=True, kw_only=True):
    subscriptions: int


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """Any frame of the server; which members it has depends on its type."""

    type: str
    limits: _Limits | None = None
    authenticated: bool = True
    task: Task | None = None
    task_id: str | None = None
    problem: Problem | None = None


_ENDINGS = (
    aiohttp.ClientError,
    OSError,  # TimeoutError is one
    TypeError,  # aiohttp's WSMessageTypeError: a close where a text was awaited
    msgspec.DecodeError,
    _Interrupted,
)


class Watch:
    """One `watch`: an async iterator of states, in which every task is done exactly once."""

    def __init__(
        self, transport: Transport, task_ids: Iterable[str], *, patience_s: float, outage_s: float
    ) -> None:
        self._transport = transport
        self._following = Following(task_ids)
        self._patience_s = patience_s
        self._outage_s = outage_s
        self._alive_at = time.monotonic()
        self._backoff = Backoff()
        self._sockets = True
        """Whether a socket may be tried at all: a code 40xx ends that."""
        self._poll_until = 0.0
        self._lost = False

    async def states(self) -> AsyncGenerator[Task, None]:
        """Yield what is news of any of the tasks until all are done.

        Raises:
            UnknownTask: One of them is not (or no longer) there.
            Unreachable: There was no sign of life for the time of patience, or of an outage.
            Unavailable: The same, while something answered that it could not serve.
            WrongAnswer: What came does not multiply to the number.

        """
        while self._following.waiting:
            polling = not self._sockets or time.monotonic() < self._poll_until
            round_ = self._polled() if polling else self._heard()
            async with contextlib.aclosing(round_):
                async for task in round_:
                    self._sign_of_life()
                    if self._following.take(checked(task)):
                        self._backoff.reset()
                        yield task

    def _sign_of_life(self) -> None:
        if self._lost:
            log.warning("%s answers again.", self._transport.url)
        self._lost = False
        self._alive_at = time.monotonic()

    async def _heard(self) -> AsyncGenerator[Task, None]:
        """Yield what one socket says, until it ends; decide what comes after it."""
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
                self._sign_of_life()
                self._following.connected(hello.limits.subscriptions if hello.limits else 1)
                async for task in self._frames(socket):
                    yield task
            except _ENDINGS:
                pass  # quiet, cut or closed: the code, if there is one, says what to do
        await self._after(advice(socket.close_code), greeted=greeted)

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

    async def _after(self, what: Advice, *, greeted: bool) -> None:
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

    async def _polled(self) -> AsyncGenerator[Task, None]:
        """Yield the states of one round of polling, then wait as long as the service asks for."""
        waiting = self._following.waiting
        alone = len(waiting) == 1
        pause_s = LONG_POLL_PAUSE_SECONDS if alone else POLL_PAUSE_SECONDS
        try:
            for first in range(0, len(waiting), CONCURRENT_POLLS):
                few = waiting[first : first + CONCURRENT_POLLS]
                for found in await asyncio.gather(*(self._poll(key, wait=alone) for key in few)):
                    self._sign_of_life()
                    if found.status != NOT_MODIFIED:
                        pause_s = max(pause_s, found.retry_after_s)
                        yield found.read(Task)
        except (Unreachable, Unavailable) as error:
            self._poll_until = 0.0  # when the service is back, it may have sockets
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
            patience_s=0.0,
        )

    async def _pause(self, failure: Unreachable | Unavailable) -> None:
        """Wait before the next round; give up if there was no sign of life for too long."""
        asked_s = failure.retry_after_s if isinstance(failure, Unavailable) else 0.0
        pause_s = self._backoff.next_s(at_least_s=asked_s)
        allowed_s = self._outage_s if self._transport.answered else self._patience_s
        if time.monotonic() + pause_s - self._alive_at > allowed_s:
            raise failure
        if not self._lost:
            log.warning("%s does not answer; trying again until it does.", self._transport.url)
        self._lost = True
        await asyncio.sleep(pause_s)


def _decoded(text: str | bytes) -> Frame:
    return msgspec.json.decode(text, type=Frame)
