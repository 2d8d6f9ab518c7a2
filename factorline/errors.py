"""What can go wrong for a client; the text of each says what happened and what to do.

    FactorlineError
    ├── Unreachable          nobody answers at the address: start the service, or mend the address
    ├── Unwell               the service answers that it cannot serve now: try later
    ├── BadAddress           the address can be none: mend it
    ├── NotFactorline        something else answers at the address: mend the address
    ├── Refused              the request cannot be served as it is: change it
    │   ├── NumberRefused    ... because of its number (`problem.position` says where)
    │   ├── UnknownTask      ... no such task, or somebody else's: check the id and the key
    │   └── NotAllowed       ... the API key is missing or wrong: set FACTORLINE_API_KEY
    ├── StillRunning         the time to wait is over and the task goes on: wait again
    └── WrongAnswer          the factors do not multiply to the number: report it, use nothing of it

What failed by itself (`Unreachable`, `Unwell`) was tried again for a while before it was raised.
"""

from factorline.models import Problem


class FactorlineError(Exception):
    """Something went wrong."""


class BadAddress(FactorlineError):
    """The address of the service can be none."""

    def __init__(self, url: str) -> None:
        super().__init__(
            f"{url!r} is no address of a service: one looks like http://127.0.0.1:8080. "
            "FACTORLINE_URL says it, or the argument."
        )


class Unreachable(FactorlineError):
    """Nobody answers at the address."""

    def __init__(self, url: str, why: object) -> None:
        super().__init__(
            f"Nobody answers at {url} ({why}). Is the service running there? "
            "FACTORLINE_URL says where to look."
        )


class Unwell(FactorlineError):
    """The service answers that it cannot serve now, or that the key has reached a limit."""

    def __init__(self, url: str, status: int, detail: str, *, retry_after_s: float = 0.0) -> None:
        self.retry_after_s = retry_after_s
        state = "asks for a pause" if status == 429 else "is not well"  # noqa: PLR2004 a limit of the key
        super().__init__(f"The service at {url} {state} ({status}): {detail} Try again later.")


class NotFactorline(FactorlineError):
    """Something answers at the address that does not speak as Factorline does."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(f"What answers at {url} is not Factorline: {why}. Check FACTORLINE_URL.")


class Refused(FactorlineError):
    """The request cannot be served as it is; `problem` is what the service says (RFC 9457)."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.detail or problem.title)


class NumberRefused(Refused):
    """The number cannot be read or is over the limit."""


class UnknownTask(Refused):
    """There is no such task, or it is somebody else's."""


class NotAllowed(Refused):
    """The API key is missing, wrong, or not good for this."""


class StillRunning(FactorlineError, TimeoutError):
    """The time to wait is over; the task goes on."""

    def __init__(self, task_id: str, seconds: float) -> None:
        self.task_id = task_id
        super().__init__(
            f"Task {task_id} is not done after {seconds:g} s. It goes on: wait for it again."
        )


class WrongAnswer(FactorlineError):
    """An answer contradicts itself: its factors do not multiply to its number."""

    def __init__(self, number: str, why: str) -> None:
        shown = number if len(number) <= 40 else f"{number[:20]}…{number[-15:]}"  # noqa: PLR2004
        super().__init__(f"The answer for {shown} is wrong: {why}. Use nothing of it; report it.")


def refused(problem: Problem) -> Refused:
    """Return the error of a 4xx problem."""
    kinds = {
        "not-a-number": NumberRefused,
        "number-too-large": NumberRefused,
        "bad-expression": NumberRefused,
        "unknown-task": UnknownTask,
    }
    if problem.status in {401, 403}:
        return NotAllowed(problem)
    return kinds.get(problem.name, Refused)(problem)
