"""The deadline of a request: when its client hears that the database does not answer.

    async with Deadline() as deadline:
        ...
        with deadline.paused():
            body = await request.read()

Each call to the store has a time-out of its own, but a request makes several calls, and slow ones may
come before the one that fails.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from aiohttp import web

from common import errors

ANSWER_SECONDS = 2.6
"""Clients are promised an answer within 3 seconds, even from a busy gateway."""
SPARE_SECONDS = 0.2
"""What is left for writing the answer when optional work stops."""


class Deadline:
    """A context that is cut off after `ANSWER_SECONDS`, which raises `errors.StoreUnavailable`.

    What was begun then may have happened or not. Any other TimeoutError passes unchanged: it is a fault of
    our own code, and says nothing about the store.
    """

    __slots__ = ("_timeout",)

    def __init__(self) -> None:
        self._timeout = asyncio.timeout(ANSWER_SECONDS)

    async def __aenter__(self) -> Self:
        """Start the clock."""
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the clock, and say so if the time was over."""
        try:
            await self._timeout.__aexit__(kind, error, traceback)  # raises only its own expiry
        except TimeoutError as expired:
            raise errors.StoreUnavailable(f"no answer within {ANSWER_SECONDS} s") from expired

    @property
    def expires_at(self) -> float | None:
        """Return the loop time at which optional work must stop, or None while the deadline is paused."""
        end = self._timeout.when()
        return None if end is None else end - SPARE_SECONDS

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the clock: the client sends its body, or has asked for something that takes long."""
        now = asyncio.get_running_loop().time
        end = self._timeout.when()
        assert end is not None  # noqa: S101 pauses do not nest
        left = end - now()
        self._timeout.reschedule(None)
        try:
            yield
        finally:
            self._timeout.reschedule(now() + left)


DEADLINE = web.RequestKey("DEADLINE", Deadline)
"""The deadline of a request; it is running when the handler is called."""
