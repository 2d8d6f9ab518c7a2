"""Waiting for a condition with a deadline, which tests do instead of sleeping."""

import asyncio
from collections.abc import Awaitable, Callable


async def until(
    condition: Callable[[], bool | Awaitable[bool]], what: str, *, seconds: float = 10.0
) -> None:
    """Return when the condition holds; fail, naming what was awaited, if it does not in time."""
    try:
        async with asyncio.timeout(seconds):
            while not await _holds(condition):
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"waited {seconds:g} s in vain for {what}") from None


async def _holds(condition: Callable[[], bool | Awaitable[bool]]) -> bool:
    held = condition()
    return held if isinstance(held, bool) else await held
