"""The errors of the client; the text of each one says what happened and what to do about it.

    FactorlineError
    ├── InvalidURL           the URL cannot be that of a service: correct it
    ├── Unreachable          no answer from the URL: start the service, or correct the URL
    ├── NotFactorline        the answer comes from some other program: correct the URL
    ├── Unavailable          the service cannot serve the request now: try again later
    ├── Refused              the service will never serve this request: change it
    │   ├── NumberRefused    ... because of the number (`problem.position` says where)
    │   ├── UnknownTask      ... because there is no such task, or it belongs to another key
    │   └── NotAllowed       ... because the API key is missing or wrong: set FACTORLINE_API_KEY
    ├── StillRunning         the timeout expired and the task goes on: wait for it again
    └── WrongAnswer          the factors do not multiply to the number: discard the answer, report it

`Unreachable` and `Unavailable` are raised only after the request has been retried for a while.
"""

from factorline.models import Problem

_SHOWN_DIGITS = 40
_TOO_MANY_REQUESTS = 429


class FactorlineError(Exception):
    """The base of all errors of the client."""


class InvalidURL(FactorlineError):
    """The URL cannot be that of a service."""

    def __init__(self, url: str) -> None:
        self.url = url
        super().__init__(
            f"{url!r} is not a valid service URL (expected something like http://127.0.0.1:8080). "
            "Set FACTORLINE_URL or pass url=…"
        )


class Unreachable(FactorlineError):
    """No answer from the URL."""

    def __init__(self, url: str, why: object) -> None:
        self.url = url
        super().__init__(
            f"No answer from {url} ({why}). Is the service running there? "
            "If it is somewhere else, set FACTORLINE_URL."
        )


class NotFactorline(FactorlineError):
    """The answer does not come from a Factorline service."""

    def __init__(self, url: str, why: str) -> None:
        self.url = url
        super().__init__(
            f"The program that answers at {url} is not Factorline: {why}. Check FACTORLINE_URL."
        )


class Unavailable(FactorlineError):
    """The service cannot serve the request now, or the API key has reached one of its limits."""

    def __init__(self, url: str, status: int, detail: str, *, retry_after_s: float = 0.0) -> None:
        self.url = url
        self.status = status
        self.retry_after_s = retry_after_s
        limited = status == _TOO_MANY_REQUESTS
        state = "asks for fewer requests" if limited else "is unavailable"
        super().__init__(f"The service at {url} {state} ({status}): {detail} Try again later.")


class Refused(FactorlineError):
    """The service will not serve the request as it is; `problem` has its reason (RFC 9457)."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.detail or problem.title)


class NumberRefused(Refused):
    """The number cannot be parsed, or it is over the limit."""


class UnknownTask(Refused):
    """There is no such task, or it belongs to another API key."""


class NotAllowed(Refused):
    """The API key is missing or wrong, or it does not allow this call."""


class StillRunning(FactorlineError, TimeoutError):
    """The timeout expired; the task goes on."""

    def __init__(self, task_id: str, seconds: float) -> None:
        self.task_id = task_id
        super().__init__(
            f"Task {task_id} is not done after {seconds:g} s. It goes on: wait for it again."
        )


class WrongAnswer(FactorlineError):
    """An answer contradicts itself: its factors do not multiply to its number."""

    def __init__(self, number: str, why: str) -> None:
        self.number = number
        shown = number if len(number) <= _SHOWN_DIGITS else f"{number[:20]}…{number[-15:]}"
        super().__init__(
            f"The answer for {shown} is wrong: {why}. Discard all of it, and please report it."
        )


_BY_PROBLEM = {
    "not-a-number": NumberRefused,
    "number-too-large": NumberRefused,
    "bad-expression": NumberRefused,
    "unknown-task": UnknownTask,
}


def refused(problem: Problem) -> Refused:
    """Return the error for a problem with a 4xx status."""
    if problem.status in {401, 403}:
        return NotAllowed(problem)
    return _BY_PROBLEM.get(problem.name, Refused)(problem)
