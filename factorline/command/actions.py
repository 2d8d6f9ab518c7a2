"""The verbs about tasks and numbers, one function each; it returns the exit status."""

import asyncio
import contextlib
import logging
import sys
from collections.abc import Coroutine
from typing import Any

from factorline.api import Client
from factorline.command import texts
from factorline.command.exits import Exit, of_error
from factorline.command.progress import Show, show
from factorline.errors import FactorlineError, StillRunning, Unavailable, Unreachable
from factorline.models import Task

RETRY_SECONDS = 3.0
"""How long a failed request is retried, which is short because a person is waiting."""
FIRST_WAIT_SECONDS = 1
"""Most numbers are factored while the first request waits; only the others need a watch."""


def print_error(error: Exception, *, json: bool) -> None:
    """Print an error on the error output."""
    if json:
        line = texts.encoded({"error": type(error).__name__, "message": str(error)})
    else:
        line = f"factorline: {error}"
    print(line, file=sys.stderr)


def run(work: Coroutine[Any, Any, Exit], *, json: bool, task_ids: list[str] | None = None) -> Exit:
    """Run the work of a verb, and turn an error into a message and an exit status.

    The work adds the ids of its tasks to ``task_ids``, so that a Ctrl-C can say how to come back.
    """
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        print(_how_to_come_back(task_ids), file=sys.stderr)
        return Exit.INTERRUPTED
    except FactorlineError as error:
        print_error(error, json=json)
        if task_ids and isinstance(error, (StillRunning, Unreachable, Unavailable)) and not json:
            print(_how_to_come_back(task_ids), file=sys.stderr)
        return of_error(error)


def _how_to_come_back(task_ids: list[str] | None) -> str:
    if task_ids is None:
        return "Interrupted."
    match task_ids:
        case []:
            return "Interrupted. If the number was submitted already, `factorline list` shows its task."
        case [task_id]:
            return (
                f"The task goes on. To come back to it: factorline watch {task_id}\n"
                f"To cancel it: factorline cancel {task_id}"
            )
    return (
        f"{len(task_ids)} tasks go on: `factorline list` shows them. "
        "Running the same batch again picks up their results, and repeats no work."
    )


def client_for(url: str) -> Client:
    """Return a client for one run of the command."""
    return Client(url, retry_for_s=RETRY_SECONDS)


def submit(  # noqa: PLR0913 the options of the command
    url: str, number: str, *, wait: bool, timeout_s: float | None, quiet: bool, json: bool
) -> Exit:
    """Submit a number; with ``wait`` follow its task until it is done."""
    task_ids: list[str] = []

    async def work() -> Exit:
        async with client_for(url) as client:
            seconds = FIRST_WAIT_SECONDS if wait and timeout_s is None else 0
            task = await client.submit(number, wait_s=seconds)
            task_ids.append(task.task_id)
            if wait:
                return await _follow(
                    client, task, timeout_s, show(json=json, quiet=quiet), json=json
                )
            print(texts.encoded(task) if json else task.task_id)
            if not json and sys.stdout.isatty():
                print(f"Follow it: factorline watch {task.task_id}", file=sys.stderr)
            return Exit.OK

    return run(work(), json=json, task_ids=task_ids)


def watch(url: str, task_id: str, *, timeout_s: float | None, quiet: bool, json: bool) -> Exit:
    """Follow a task until it is done."""

    async def work() -> Exit:
        async with client_for(url) as client:
            task = await client.get(task_id)
            return await _follow(client, task, timeout_s, show(json=json, quiet=quiet), json=json)

    return run(work(), json=json, task_ids=[task_id])


async def _follow(
    client: Client, task: Task, timeout_s: float | None, shown: Show, *, json: bool
) -> Exit:
    """Show a task until it is done, then print its answer."""
    if not task.done:
        try:
            with shown, _notes(shown):
                shown.state(task)
                async with (
                    asyncio.timeout(timeout_s),
                    contextlib.aclosing(client.watch(task.task_id)) as states,
                ):
                    async for newest in states:
                        task = newest
                        if not task.done:
                            shown.state(task)
        except TimeoutError as error:
            raise StillRunning(task.task_id, timeout_s or 0.0) from error
    print(texts.encoded(task) if json else texts.answer(task))
    return Exit.OK if task.succeeded else Exit.INCOMPLETE


@contextlib.contextmanager
def _notes(shown: Show) -> Any:
    """Show the client's own warnings, for example of a lost connection, beside the progress."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            shown.note(record.getMessage())

    handler, log = Handler(), logging.getLogger("factorline")
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


def get(url: str, task_id: str, *, json: bool) -> Exit:
    """Show a task."""

    async def work() -> Exit:
        async with client_for(url) as client:
            task = await client.get(task_id)
        print(texts.encoded(task) if json else "\n".join(texts.description(task)))
        return Exit.OK

    return run(work(), json=json)


def list_(url: str, *, newest: int, json: bool) -> Exit:
    """List tasks."""

    async def work() -> Exit:
        async with client_for(url) as client:
            found = 0
            async for task in client.list(newest=newest):
                print(texts.encoded(task) if json else texts.row(task))
                found += 1
        if not found and not json:
            print("You have no tasks.", file=sys.stderr)
        return Exit.OK

    return run(work(), json=json)


def cancel(url: str, task_id: str, *, json: bool) -> Exit:
    """Cancel a task and print how it ended; it may have been done already."""

    async def work() -> Exit:
        async with client_for(url) as client:
            task = await client.cancel(task_id)
        print(texts.encoded(task) if json else texts.answer(task))
        return Exit.OK

    return run(work(), json=json)


def erase(url: str, task_id: str | None) -> Exit:
    """Erase a task that has ended, or all of them; print how many."""

    async def work() -> Exit:
        async with client_for(url) as client:
            if task_id is None:
                count = await client.erase_all()
            else:
                await client.erase(task_id)
                count = 1
        print("Erased 1 task." if count == 1 else f"Erased {count} tasks.")
        return Exit.OK

    return run(work(), json=False)


def known(url: str, number: str, *, json: bool) -> Exit:
    """Show what is known about a number."""

    async def work() -> Exit:
        async with client_for(url) as client:
            found = await client.known(number)
        print(texts.encoded(found) if json else texts.knowledge(found))
        return Exit.OK

    return run(work(), json=json)
