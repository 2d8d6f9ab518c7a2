"""Checks every answer of the service by multiplying its factors."""

from factorline.errors import WrongAnswer
from factorline.models import KnownNumber, Task, product_of


def checked(task: Task, *, asked: int | None = None) -> Task:
    """Return a task if its answer is consistent.

    Args:
        task: A task as the service sent it.
        asked: The number that was submitted, if it is known.

    Raises:
        WrongAnswer: The factors do not multiply to the number, an answer that is said to be
            complete is not, or the task is about another number.

    """
    if asked is not None and int(task.number) != asked:
        raise WrongAnswer(str(asked), f"it is about {task.number}")
    _check_product(task)
    if task.succeeded:
        _check_complete(task)
    return task


def checked_number(known: KnownNumber) -> KnownNumber:
    """Return what is known about a number if it is consistent; raise `WrongAnswer` if it is not."""
    _check_product(known)
    return known


def _check_product(answer: Task | KnownNumber) -> None:
    """Check that the factors multiply to the number, unless only its sign is known so far."""
    known = bool(answer.composites) or any(part.certainty != "unit" for part in answer.factors)
    if known and product_of(answer.factors, answer.composites) != int(answer.number):
        raise WrongAnswer(answer.number, "its factors do not multiply to it")


def _check_complete(task: Task) -> None:
    if task.composites:
        raise WrongAnswer(task.number, "it is marked as complete but has composite factors")
    words = task.result.split(",") if task.result else []
    if abs(int(task.number)) > 1 and [str(prime) for prime in task.primes] != words:
        raise WrongAnswer(task.number, "its result differs from its factors")
    if abs(int(task.number)) <= 1 and words != [str(int(task.number))]:
        raise WrongAnswer(task.number, "the result of 0, 1 or -1 has to be the number itself")
