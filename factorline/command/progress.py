"""Shows the progress of a task: bars on a terminal, lines in a pipe, JSON, or nothing.

Bars and lines go to the error output, so that the standard output holds only the answer.
"""

import sys
import time
from types import TracebackType
from typing import Protocol, Self

from factorline.command import stages
from factorline.command.texts import encoded
from factorline.models import Task

LINE_SECONDS = 2.0
"""The least time between two lines about the same stage."""


class Show(Protocol):
    """Something that shows the states of a task as they arrive."""

    def __enter__(self) -> Self:
        """Start."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Restore the terminal."""

    def state(self, task: Task) -> None:
        """Show a state."""

    def note(self, text: str) -> None:
        """Show a message beside the progress."""


class Silence:
    """Shows nothing but messages; also the base of everything that needs no terminal."""

    def __enter__(self) -> Self:
        """Start."""
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
        """Print a message on the error output: --quiet hides progress, not trouble."""
        print(text, file=sys.stderr, flush=True)


class JsonLines(Silence):
    """Prints every state on the standard output, as JSON."""

    def state(self, task: Task) -> None:
        """Print it as a line of JSON."""
        print(encoded(task), flush=True)


class Lines(Silence):
    """Prints a line when the progress has changed."""

    def __init__(self) -> None:
        self._printed = ""
        self._stage = ""
        self._printed_at = 0.0

    def state(self, task: Task) -> None:
        """Print the progress, unless it is unchanged or another line has just been printed."""
        text = stages.line(task)
        now = time.monotonic()
        soon = now - self._printed_at < LINE_SECONDS
        if text == self._printed or (soon and task.progress.stage == self._stage and not task.done):
            return
        self._printed, self._stage, self._printed_at = text, task.progress.stage, now
        self.note(text)


def show(*, json: bool, quiet: bool) -> Show:
    """Return the display that fits the options and the terminal."""
    if json:
        return JsonLines()
    if quiet:
        return Silence()
    if sys.stderr.isatty():
        from factorline.command.bars import Bars  # noqa: PLC0415 rich is for terminals

        return Bars()
    return Lines()
