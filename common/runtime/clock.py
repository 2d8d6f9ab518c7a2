"""A wall clock that follows a server's, so that no two machines' clocks are ever compared."""

import time

_ELAPSED = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""A clock that nobody sets, and that goes on while a laptop sleeps where the system has one."""


def elapsed() -> float:
    """Return seconds since some moment in the past, by a clock that nobody sets."""
    return time.clock_gettime(_ELAPSED)


class Clock:
    """A server's wall clock, as far as its answers tell. Until there is one it is this machine's.

    An answer that the server wrote at a time T, asked for at ``a`` and received at ``b`` by `elapsed`, proves
    that the server's clock is ahead of `elapsed` by T - b at least and T - a at most. What was believed
    before is kept if it lies between, and moved to the nearer bound if not: a slow answer spoils nothing.
    """

    def __init__(self) -> None:
        self._ahead = time.time() - elapsed()
        self._known = False

    def now(self) -> float:
        """Return the server's time, in seconds since the epoch."""
        return elapsed() + self._ahead

    @property
    def skew(self) -> float:
        """How far this machine's clock is ahead of the server's, in seconds."""
        return time.time() - self.now()

    def learn(self, server_time: float, *, asked_at: float, answered_at: float) -> None:
        """Follow what a server has answered.

        Args:
            server_time: Its time when it answered, in seconds since the epoch.
            asked_at: `elapsed` before the question was sent.
            answered_at: `elapsed` after the answer was received.

        """
        least, most = server_time - answered_at, server_time - asked_at
        if not self._known:
            self._ahead = (least + most) / 2
            self._known = True
        self._ahead = min(max(self._ahead, least), most)
