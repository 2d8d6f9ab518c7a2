"""Multiplies answers back: a client believes no factorization that it has not checked."""

from factorline.errors import WrongAnswer
from factorline.models import KnownNumber, Task, product_of


def checked(task: Task, *, asked: int | None = None) -> Task:
    """Return the task if what it says is consistent; ``asked`` is the number that was meant.

    Raises:
        WrongAnswer: The parts do not multiply to the number, a "complete" answer is not complete,
            or the task is about another number.

    """
    if asked is not None and int(task.number) != asked:
        raise WrongAnswer(str(asked), f"it is about {task.number}")
    _multiplied(task)
    if task.succeeded:
        _complete(task)
    return task


def checked_number(known: KnownNumber) -> KnownNumber:
    """Return what is known of a number if it is consistent; raise `WrongAnswer` if not."""
    _multiplied(known)
    return known


def _multiplied(answer: Task | KnownNumber) -> None:
    """Check the product, unless nothing but the sign is known yet."""
    known = bool(answer.composites) or any(part.certainty != "unit" for part in answer.factors)
    if known and product_of(answer.factors, answer.composites) != int(answer.number):
        raise WrongAnswer(answer.number, "its parts do not multiply to it")


def _complete(task: Task) -> None:
    if task.composites:
        raise WrongAnswer(task.number, "it is called complete and has composites left")
    words = task.result.split(",") if task.result else []
    if abs(int(task.number)) > 1 and [str(prime) for prime in task.primes] != words:
        raise WrongAnswer(task.number, "its result and its factors differ")
    if abs(int(task.number)) <= 1 and words != [str(int(task.number))]:
        raise WrongAnswer(task.number, "0 and 1 are their own answers")
