"""Waiting between two attempts or two turns of a loop, with jitter so that many programs spread out."""

import asyncio
import random


class Backoff:
    """Growing pauses between attempts at something that fails.

    Each pause is random, up to a bound that doubles from ``first`` to ``longest`` seconds ("full
    jitter", https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/).
    """

    def __init__(self, *, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._bound = first

    def reset(self) -> None:
        """Return to short pauses, because an attempt succeeded."""
        self._bound = self._first

    async def pause(self) -> None:
        """Sleep before the next attempt."""
        bound, self._bound = self._bound, min(2 * self._bound, self._longest)
        await asyncio.sleep(random.uniform(0, bound))  # noqa: S311 jitter is no secret


def jittered(seconds: float, *, share: float = 0.25) -> float:
    """Return a period changed at random by up to this share of it, either way."""
    return seconds * random.uniform(1 - share, 1 + share)  # noqa: S311 jitter is no secret
