"""How long a request may take before its client hears that the store does not answer.

Each call to a store has an end of its own, but a request makes several, and a slow one may come before
one that fails.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

from aiohttp import web

from common import errors

ANSWER_SECONDS = 2.6
"""Clients are promised 3, also by a busy gateway; one call to a store that is down ends before."""
SPARE_SECONDS = 0.2
"""To answer in when nothing more is waited for."""
_LIMIT = web.RequestKey("PATIENCE", asyncio.Timeout)


@contextlib.asynccontextmanager
async def bounded(request: web.Request) -> AsyncIterator[None]:
    """Raise StoreUnavailable when the time is over; what had begun may have been done or not."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS) as limit:
            request[_LIMIT] = limit
            yield
    except TimeoutError as error:
        raise errors.StoreUnavailable(f"no answer within {ANSWER_SECONDS} s") from error


def end_of(request: web.Request) -> float | None:
    """Return the event loop's time when whatever an answer can do without is given up, if ever."""
    end = request[_LIMIT].when()
    return None if end is None else end - SPARE_SECONDS


@contextlib.contextmanager
def unhurried(request: web.Request) -> Iterator[None]:
    """Stop the clock while the client sends its body, or for what it knows to take long."""
    limit, now = request[_LIMIT], asyncio.get_running_loop().time
    end = limit.when()
    assert end is not None  # noqa: S101 nobody stops it twice
    left = end - now()
    limit.reschedule(None)
    try:
        yield
    finally:
        limit.reschedule(now() + left)
