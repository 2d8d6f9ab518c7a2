"""The statuses that the command exits with; scripts may rely on them."""

import enum
from typing import Self


class Exit(enum.IntEnum):
    """An exit status with its meaning."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> Self:
        """Return a status that is its number and knows what it means."""
        status = int.__new__(cls, value)
        status._value_ = value
        status.meaning = meaning
        return status

    OK = 0, "success: every prime factor is known, or the command did what it was asked"
    INCOMPLETE = 1, "the task ended without all prime factors, or `doctor` found a fault"
    WRONG_INPUT = 2, "the command line, the file, the URL or the number is not valid"
    NO_SUCH_TASK = 3, "no such task, or it belongs to another API key"
    UNAVAILABLE = 4, "no answer, an answer from another program, or a service that cannot serve now"
    NOT_ALLOWED = 5, "the API key is missing or wrong"
    WRONG_ANSWER = 6, "the factors do not multiply to the number"
    STILL_RUNNING = 7, "the time given with --timeout expired, and the task goes on"
    INTERRUPTED = 130, "Ctrl-C, and the task goes on"


def of_error(error: Exception) -> Exit:
    """Return the status for an error of the client."""
    from factorline import errors  # noqa: PLC0415 it imports msgspec, which no help page needs

    for kind, status in (
        (errors.UnknownTask, Exit.NO_SUCH_TASK),
        (errors.NotAllowed, Exit.NOT_ALLOWED),
        (errors.Refused, Exit.WRONG_INPUT),
        (errors.InvalidURL, Exit.WRONG_INPUT),
        (errors.WrongAnswer, Exit.WRONG_ANSWER),
        (errors.StillRunning, Exit.STILL_RUNNING),
    ):
        if isinstance(error, kind):
            return status
    return Exit.UNAVAILABLE
