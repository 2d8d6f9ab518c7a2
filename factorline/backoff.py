"""When to come back: full jitter, Retry-After, and what a WebSocket's close code asks for. Pure."""

import email.utils
import enum
import random
import time

FIRST_SECONDS = 0.5
LONGEST_SECONDS = 30.0
LONGEST_RETRY_AFTER_SECONDS = 3600.0

_GOING_AWAY, _SERVICE_RESTART = 1001, 1012


class Advice(enum.Enum):
    """What a close code asks of the client."""

    STAY_AWAY = "do not come back"
    BACK_OFF = "come back after a good while"
    AT_ONCE = "come back at once, with jitter"
    RETRY = "nobody said anything: come back, later each time"


def advice(close_code: int | None) -> Advice:
    """Return what a close code asks for: 40xx, 41xx, 42xx and 1001/1012, anything else."""
    if close_code in {_GOING_AWAY, _SERVICE_RESTART}:
        return Advice.AT_ONCE
    families = {40: Advice.STAY_AWAY, 41: Advice.BACK_OFF, 42: Advice.AT_ONCE}
    return families.get((close_code or 0) // 100, Advice.RETRY)


class Backoff:
    """Seconds to wait before the next try: anything up to a bound that doubles (full jitter).

    Many clients that lose one server so come back spread out, and not in step.
    """

    def __init__(self, first_s: float = FIRST_SECONDS, longest_s: float = LONGEST_SECONDS) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._tries = 0

    def reset(self) -> None:
        """Begin anew: things went well."""
        self._tries = 0

    def next_s(self, *, at_least_s: float = 0.0) -> float:
        """Return how long to wait now, after what the server asked for."""
        bound = min(self._longest_s, self._first_s * 2 ** min(self._tries, 16))
        self._tries += 1
        return at_least_s + random.uniform(0, bound)  # noqa: S311 no secret


def retry_after_s(header: str | None) -> float:
    """Return the seconds of a Retry-After header (a number or a date), 0 without one or if unreadable."""
    if not header:
        return 0.0
    if header.strip().isdecimal():
        seconds = float(header)
    else:
        try:
            seconds = email.utils.parsedate_to_datetime(header).timestamp() - time.time()
        except ValueError:
            return 0.0
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)
