"""The verb `batch`: reads one number per line, and writes one row per number in the same order."""

import contextlib
import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from factorline.command import texts
from factorline.command.actions import client_for, run
from factorline.command.exits import Exit
from factorline.models import BatchItem, Task

COLUMNS = ("input", "status", "number", "result", "task_id", "reason", "cpu_seconds")


def batch(url: str, file: str, *, out: str | None, quiet: bool, json: bool) -> Exit:
    """Factor every number in a file."""
    task_ids: list[str] = []
    try:
        numbers = list(_numbers(file))
        target = open(out, "w", newline="", encoding="utf-8") if out else None  # noqa: SIM115,PTH123
    except (OSError, UnicodeError) as error:
        print(f"factorline: {error}", file=sys.stderr)
        return Exit.WRONG_INPUT

    async def work() -> Exit:
        rows = Rows(numbers, target or sys.stdout, json=json, quiet=quiet or out is None)
        async with client_for(url) as client:
            rows.begin(await client.batch(numbers))
            task_ids.extend(rows.waiting)
            async with contextlib.aclosing(client.watch(*rows.waiting)) as states:
                async for task in states:
                    rows.state(task)
        rows.close()
        return Exit.OK if rows.all_factored else Exit.INCOMPLETE

    try:
        return run(work(), json=json, task_ids=task_ids)
    finally:
        if target is not None:
            target.close()


def _numbers(file: str) -> Iterator[str]:
    """Yield the numbers in a file, without blank lines and lines that begin with #."""
    text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line.strip()


class Rows:
    """The results. Each is written as soon as it is there and all before it are written."""

    def __init__(self, numbers: list[str], target: TextIO, *, json: bool, quiet: bool) -> None:
        self._numbers = numbers
        self._target = target
        self._json = json
        self._quiet = quiet
        self._items: Sequence[BatchItem] = ()
        self._ended: dict[str, Task] = {}
        self._written = 0
        self.all_factored = True
        """Whether every number so far is factored completely."""

    def begin(self, items: Sequence[BatchItem]) -> None:
        """Take the outcome of submitting the numbers."""
        self._items = items
        if not self._json:
            csv.writer(self._target, lineterminator="\n").writerow(COLUMNS)
        for item in items:
            if item.task is not None and item.task.done:
                self._ended[item.task.task_id] = item.task
        self._write()

    @property
    def waiting(self) -> list[str]:
        """The ids of the tasks that are not done."""
        tasks = [item.task for item in self._items if item.task is not None]
        return [task.task_id for task in tasks if task.task_id not in self._ended]

    def state(self, task: Task) -> None:
        """Take a state of a task."""
        if task.done:
            self._ended[task.task_id] = task
            self._write()

    def close(self) -> None:
        """End the progress line."""
        if self._shows:
            print(file=sys.stderr)

    @property
    def _shows(self) -> bool:
        return not self._quiet and sys.stderr.isatty()

    def _write(self) -> None:
        for item in self._items[self._written :]:
            task = self._ended.get(item.task.task_id) if item.task else None
            if item.task is not None and task is None:
                break
            self._row(item, task)
            self._written += 1
        self._target.flush()
        if self._shows:
            done = len(self._ended) + sum(item.problem is not None for item in self._items)
            print(f"\r{done} of {len(self._items)} done", end="", file=sys.stderr, flush=True)

    def _row(self, item: BatchItem, task: Task | None) -> None:
        given = self._numbers[item.index]
        self.all_factored = self.all_factored and task is not None and task.succeeded
        if self._json:
            shown = {"input": given, "task": task, "problem": item.problem}
            print(texts.encoded(shown), file=self._target)
            return
        if task is None:
            detail = item.problem.detail if item.problem else "the service did not answer"
            row = (given, "refused", "", "", "", detail, "")
        else:
            seconds = f"{task.progress.cpu_seconds:g}"
            result = task.result or texts.product(task.factors, task.composites)
            row = (
                given,
                task.status,
                task.number,
                result,
                task.task_id,
                task.reason or "",
                seconds,
            )
        csv.writer(self._target, lineterminator="\n").writerow(row)
