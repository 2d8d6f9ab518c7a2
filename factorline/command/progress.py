"""Shows a task that is under way: bars on a terminal, lines elsewhere, JSON, or nothing.

Progress goes to the error output, so that the standard output holds the answer and nothing else.
"""

import sys
import time
from types import TracebackType
from typing import Protocol, Self

from factorline.command import stages
from factorline.command.texts import encoded
from factorline.models import Task

LINE_SECONDS = 2.0
"""Lines of one stage come no faster, except for what changes a stage."""


class Show(Protocol):
    """Something that shows states of a task as they come."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was."""

    def state(self, task: Task) -> None:
        """Show a state."""

    def note(self, text: str) -> None:
        """Say something beside it."""


class Silence:
    """Shows nothing; also the base of what needs no terminal."""

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End."""

    def state(self, task: Task) -> None:
        """Show nothing."""

    def note(self, text: str) -> None:
        """Say it on the error output: trouble is no progress."""
        print(text, file=sys.stderr, flush=True)


class JsonLines(Silence):
    """Prints every state on the standard output."""

    def state(self, task: Task) -> None:
        """Print it as a line of JSON."""
        print(encoded(task), flush=True)


class Lines(Silence):
    """Prints a line when there is something to say."""

    def __init__(self) -> None:
        self._said = ""
        self._stage = ""
        self._said_at = 0.0

    def state(self, task: Task) -> None:
        """Print where the task stands, unless that was said, or hardly ago."""
        text = stages.line(task)
        now = time.monotonic()
        soon = now - self._said_at < LINE_SECONDS
        if text == self._said or (soon and task.progress.stage == self._stage and not task.done):
            return
        self._said, self._stage, self._said_at = text, task.progress.stage, now
        self.note(text)


def show(*, json: bool, quiet: bool) -> Show:
    """Return what fits the options and the terminal."""
    if json:
        return JsonLines()
    if quiet:
        return Silence()
    if sys.stderr.isatty():
        from factorline.command.bars import Bars  # noqa: PLC0415 rich is for terminals

        return Bars()
    return Lines()
