"""Store calls that must not fail: they are repeated until the store answers."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from common import errors
from common.runtime.backoff import Backoff
from factor_worker import metrics

log = structlog.stdlib.get_logger(__name__)

RETRY_SECONDS = (0.1, 5.0)
"""Bounds of the first and of the longest pause between two attempts."""

Result = TypeVar("Result")


async def until_store_answers(call: Callable[[], Awaitable[Result]]) -> Result:
    """Repeat a store call until the store answers; return its result.

    The message that it is about stays unacknowledged meanwhile, so nothing is lost if we never return.
    """
    first, longest = RETRY_SECONDS
    backoff = Backoff(first=first, longest=longest)
    while True:
        try:
            return await call()
        except errors.StoreUnavailable as error:
            metrics.STORE_RETRIES.inc()
            log.warning("Waiting for the store", why=error.why)
            await backoff.pause()
