"""The statuses that the command exits with; scripts may rely on them."""

import enum


class Exit(enum.IntEnum):
    """What an exit status means."""

    OK = 0
    """Done: every prime factor is known, or the command did what it was asked."""
    INCOMPLETE = 1
    """A task ended without all its prime factors (partial, failed, cancelled); `doctor` found faults."""
    WRONG_INPUT = 2
    """The command line, the file, the address or the number cannot be used as it is."""
    NO_SUCH_TASK = 3
    """There is no task of that id, or it is somebody else's."""
    UNAVAILABLE = 4
    """Nobody answers, something else answers, or the service is not well."""
    NOT_ALLOWED = 5
    """The API key is missing or not good for this."""
    WRONG_ANSWER = 6
    """The factors do not multiply to the number."""
    STILL_RUNNING = 7
    """The time given with --timeout is over; the task goes on."""
    INTERRUPTED = 130
    """Ctrl-C; the task goes on."""


def of_error(error: Exception) -> Exit:
    """Return the status for an error of the client."""
    from factorline import errors  # noqa: PLC0415 it drags in msgspec, which no help page needs

    for kind, status in (
        (errors.UnknownTask, Exit.NO_SUCH_TASK),
        (errors.NotAllowed, Exit.NOT_ALLOWED),
        (errors.Refused, Exit.WRONG_INPUT),
        (errors.BadAddress, Exit.WRONG_INPUT),
        (errors.WrongAnswer, Exit.WRONG_ANSWER),
        (errors.StillRunning, Exit.STILL_RUNNING),
    ):
        if isinstance(error, kind):
            return status
    return Exit.UNAVAILABLE
