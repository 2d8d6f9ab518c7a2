"""Stalls: which of the numbers that a sweeper looks at make no progress, although they could.

This only tells people. It decides by the worker's own clock, and forgets everything with the worker.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from common.domain import Factorization
from common.runtime.logs import about
from factor_worker import metrics, plan

log = structlog.stdlib.get_logger(__name__)

LONGEST_GAP_SECONDS = 30.0
"""No more than this counts between two looks: meanwhile nobody may have been able to look or to work."""
FORGOTTEN_SECONDS = 600.0
"""A number that was not seen for so long has ended, or is looked after by somebody else."""


@dataclass(slots=True)
class _Seen:
    moved: object
    """Changes with every bit of progress."""
    at: float
    still_seconds: float = 0.0
    """How long it has not moved, as far as it could."""
    patience_seconds: float = 0.0

    @property
    def stalled(self) -> bool:
        return self.still_seconds > self.patience_seconds


class Stalls:
    """What one worker remembers of the active numbers in its share."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` returns seconds, from any beginning."""
        self._clock = clock
        self._seen: dict[str, _Seen] = {}
        """By the number's decimal digits: a client cannot choose these to have equal hashes."""

    def see(self, known: Factorization, *, delivered: bool) -> None:
        """Note how an active number is now.

        Args:
            known: Its factorization. If it waits for others, these are looked at instead.
            delivered: Whether a unit of it has left its queue, so that it could have made progress.

        """
        if known.waits_for:
            return
        key, now = str(int(known.number)), self._clock()
        moved = (known.cpu_seconds, [entry.solving for entry in known.outstanding.values()])
        seen = self._seen.get(key)
        if seen is None or seen.moved != moved:
            self._seen[key] = _Seen(moved, now)
            return
        was_stalled = seen.stalled
        if delivered:
            seen.still_seconds += min(now - seen.at, LONGEST_GAP_SECONDS)
        seen.at = now
        seen.patience_seconds = plan.patience_seconds(known)
        if seen.stalled and not was_stalled:
            log.warning(
                "Number makes no progress",
                seconds=round(seen.still_seconds),
                units=[*known.outstanding],
                **about(known.number),
            )

    def report(self) -> None:
        """Set the metric, at the end of a look at all active numbers of the share."""
        now = self._clock()
        for key in [key for key, seen in self._seen.items() if now - seen.at > FORGOTTEN_SECONDS]:
            del self._seen[key]
        lately = (seen for seen in self._seen.values() if now - seen.at <= LONGEST_GAP_SECONDS)
        metrics.NUMBERS_STALLED.set(sum(seen.stalled for seen in lately))

    def forget(self) -> None:
        """Begin anew: this worker looks at no numbers now."""
        self._seen.clear()
        metrics.NUMBERS_STALLED.set(0)
