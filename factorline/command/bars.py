"""The display on a terminal: one line for each stage, with a progress bar for the current one."""

import sys
import time
from datetime import datetime
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from factorline.command import stages
from factorline.command.texts import digits_of, duration, product
from factorline.models import Task

REFRESHES_A_SECOND = 4
BAR_WIDTH = 20
NAME_WIDTH = max(map(len, stages.NAMES.values()))


class Bars:
    """Shows one task, redraws a few times a second, and removes itself at the end."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stderr, highlight=False)
        self._spinner = Spinner("dots")
        self._task: Task | None = None
        self._live = Live(
            console=self._console,
            get_renderable=self.picture,
            refresh_per_second=REFRESHES_A_SECOND,
            transient=True,
        )

    def __enter__(self) -> Self:
        """Start drawing."""
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the drawing."""
        self._live.stop()

    def state(self, task: Task) -> None:
        """Draw this state from now on."""
        self._task = task

    def note(self, text: str) -> None:
        """Print a line above the drawing."""
        self._console.print(Text(text, style="yellow"))

    def picture(self) -> RenderableType:
        """Return what to draw now."""
        if self._task is None:
            return Text("waiting for the service ...", style="dim")
        task = self._task
        lines: list[RenderableType] = [self._head(task)]
        lines += map(self._stage, stages.stages(task.progress))
        found = product([part for part in task.factors if part.certainty != "unit"], [])
        if found:
            lines.append(Text(f"  found so far: {found}", style="green", overflow="fold"))
        lines.append(Text("  Ctrl-C leaves the task running", style="dim"))
        return Group(*lines)

    def _head(self, task: Task) -> Text:
        short = len(task.expression) <= BAR_WIDTH
        shown = Text("  ").append(
            task.expression if short else f"{task.number[:BAR_WIDTH]}…", style="bold"
        )
        shown.append(f"  {digits_of(task.number)} digits")
        if task.progress.stage not in stages.NAMES:
            shown.append(f"  {stages.name(task.progress)}", style="yellow")
        if task.progress.workers:
            shown.append(f"  {stages.workers(task.progress)}", style="cyan")
        elapsed = max(0.0, time.time() - datetime.fromisoformat(task.created_at).timestamp())
        return shown.append(f"  {duration(round(elapsed))}, {stages.effort(task.progress)}")

    def _stage(self, stage: stages.Stage) -> RenderableType:
        if not stage.live:
            mark = Text(" ✓ " if stage.share == 1.0 else "   ", style="green")
            return mark.append(f"{stage.name:{NAME_WIDTH}} {stage.details}", style="dim")
        bar = ProgressBar(
            total=1.0, completed=stage.share or 0.0, width=BAR_WIDTH, pulse=stage.share is None
        )
        row = Table.grid(padding=(0, 1, 0, 0))
        row.add_row(
            "", self._spinner, Text(f"{stage.name:{NAME_WIDTH}}", "bold"), bar, stage.details
        )
        return row
