"""Tasks and numbers as text for people. Pure: values in, lines out."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from factorline.models import Composite, Factor, KnownNumber, Task

_STATUS_WORDS = {
    "FF": "fully factored",
    "CF": "composite, some factors known",
    "C": "composite, no factor known",
    "P": "prime, proven",
    "PRP": "probably prime",
    "Unit": "a unit",
    "Zero": "zero",
    "U": "nothing known yet",
}
_LONG = 40


def encoded(value: Any) -> str:
    """Return a value as one line of JSON."""
    return msgspec.json.encode(value).decode()


def shortened(number: str) -> str:
    """Return a number short enough to share a line: ``123456789012…210987654321 (99 digits)``."""
    if len(number) <= _LONG:
        return number
    return f"{number[:12]}…{number[-12:]} ({digits_of(number)} digits)"


def digits_of(number: str) -> int:
    """Return the number of digits of a decimal number."""
    return len(number.lstrip("-"))


def product(factors: Sequence[Factor], composites: Sequence[Composite]) -> str:
    """Return a factorization as an expression that the service can read: ``2^3 * 617``."""
    words = [_power(part.prime, part.exponent) for part in factors]
    words += [_power(part.value, part.exponent) for part in composites]
    return " * ".join(words)


def found(answer: Task | KnownNumber) -> str:
    """Return the factorization as far as it is known; empty if no factor is."""
    parts = [*answer.factors, *answer.composites]
    if len(answer.composites) == len(parts) == 1 and answer.composites[0].exponent == 1:
        return ""
    return product(answer.factors, answer.composites)


def answer(task: Task) -> str:
    """Return the answer of a task in one line: ``1234 = 2 * 617``."""
    if task.succeeded:
        return f"{task.number} = {found(task) or task.number}"
    reason = f": {task.reason}" if task.reason else ""
    parts = f"{task.number} = {found(task)}" if found(task) else f"{task.number} is not factored"
    return f"{parts}  ({task.status}{reason})"


def description(task: Task) -> Iterable[str]:
    """Yield lines that describe a task completely."""
    yield f"task       {task.task_id}"
    yield f"number     {shortened(task.number)}"
    if task.expression != task.number:
        yield f"given as   {task.expression}"
    yield f"status     {task.status}{f': {task.reason}' if task.reason else ''}"
    if parts := found(task):
        yield f"{'factors' if task.succeeded else 'so far':10} {parts}"
    if any(part.certainty == "probable" for part in task.factors):
        yield "certainty  some of the factors are only probable primes"
    if not task.done:
        yield f"stage      {task.progress.stage}"
    if task.waiting:
        yield f"waiting    {task.waiting.detail}"
    yield f"CPU time   {duration(task.progress.cpu_seconds)}"
    yield f"created    {task.created_at}"
    if task.ended_at:
        yield f"ended      {task.ended_at}"


def row(task: Task) -> str:
    """Return a task as one line of a list."""
    shown = task.expression if len(task.expression) <= _LONG else shortened(task.number)
    state = task.result if task.succeeded and task.result else task.reason or task.progress.stage
    return f"{task.task_id}  {task.status:9}  {shown}  {state}"


def knowledge(known: KnownNumber) -> str:
    """Return what is known about a number in one line."""
    words = _STATUS_WORDS.get(known.status, known.status)
    parts = found(known)
    shown = f"{known.number} = {parts}" if parts else known.number
    return f"{shown}  ({known.status}: {words})"


def duration(seconds: float) -> str:
    """Return a duration as people say it: ``0.2 s``, ``45 s``, ``2 min 30 s``, ``3 h 5 min``."""
    if seconds < 10 and seconds != round(seconds):  # noqa: PLR2004 tenths matter below that
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _power(base: str, exponent: int) -> str:
    return base if exponent == 1 else f"{base}^{exponent}"
