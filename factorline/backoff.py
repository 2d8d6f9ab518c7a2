"""When to retry: backoff with full jitter, Retry-After, and the close codes of WebSockets. Pure."""

import email.utils
import enum
import random
import time

FIRST_SECONDS = 0.5
LONGEST_SECONDS = 30.0
LONGEST_RETRY_AFTER_SECONDS = 3600.0

_GOING_AWAY, _SERVICE_RESTART = 1001, 1012


class Advice(enum.Enum):
    """What a close code tells the client to do."""

    STAY_AWAY = "open no other socket"
    BACK_OFF = "reconnect after a long pause"
    RECONNECT = "reconnect soon"
    RETRY = "reconnect with backoff"


def advice(close_code: int | None) -> Advice:
    """Return what a close code tells the client to do; None, a lost connection, is a reason to retry."""
    if close_code in {_GOING_AWAY, _SERVICE_RESTART}:
        return Advice.RECONNECT
    families = {40: Advice.STAY_AWAY, 41: Advice.BACK_OFF, 42: Advice.RECONNECT}
    return families.get((close_code or 0) // 100, Advice.RETRY)


class Backoff:
    """Exponential backoff with full jitter: a random pause below a bound that doubles with every try.

    The jitter spreads out the clients of a server that went away, so that they do not all return at
    the same moment.
    """

    def __init__(self, first_s: float = FIRST_SECONDS, longest_s: float = LONGEST_SECONDS) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._tries = 0

    def reset(self) -> None:
        """Start over, after a success."""
        self._tries = 0

    def next_s(self, *, at_least_s: float = 0.0) -> float:
        """Return the next pause in seconds, on top of the minimum that the server asked for."""
        bound = min(self._longest_s, self._first_s * 2 ** min(self._tries, 16))
        self._tries += 1
        return at_least_s + random.uniform(0, bound)  # noqa: S311 no secret


def retry_after_s(header: str | None) -> float:
    """Return the seconds of a Retry-After header (a number or a date), 0 if it is absent or invalid."""
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
