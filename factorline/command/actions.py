"""What the verbs about tasks and numbers do; each returns the exit status."""

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

CALL_SECONDS = 3.0
"""How long a call that fails is tried again: a person waits for it."""
FIRST_WAIT_SECONDS = 1
"""Most numbers are factored within the request itself; only then is a watch worth its socket."""


def complain(error: Exception, *, json: bool) -> None:
    """Say on the error output what went wrong."""
    if json:
        said = texts.encoded({"error": type(error).__name__, "message": str(error)})
    else:
        said = f"factorline: {error}"
    print(said, file=sys.stderr)


def run(work: Coroutine[Any, Any, Exit], *, json: bool, task_ids: list[str] | None = None) -> Exit:
    """Run a command's work; turn what goes wrong into words and an exit status.

    ``task_ids`` are the tasks under way, which the work fills in, for the words after a Ctrl-C.
    """
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        print(_farewell(task_ids), file=sys.stderr)
        return Exit.INTERRUPTED
    except FactorlineError as error:
        complain(error, json=json)
        if task_ids and isinstance(error, (StillRunning, Unreachable, Unavailable)) and not json:
            print(_farewell(task_ids), file=sys.stderr)
        return of_error(error)


def _farewell(task_ids: list[str] | None) -> str:
    if task_ids is None:
        return "Interrupted."
    match task_ids:
        case []:
            return "Interrupted. If it was submitted, `factorline list` shows it."
        case [task_id]:
            return (
                f"The task goes on without you. Come back with: factorline watch {task_id}\n"
                f"Or give it up with: factorline cancel {task_id}"
            )
    return (
        f"{len(task_ids)} tasks go on without you: `factorline list` shows them. "
        "The same batch again finds what is known by then, and repeats no work."
    )


def client_for(url: str) -> Client:
    """Return a client for one command."""
    return Client(url, patience_s=CALL_SECONDS)


def submit(  # noqa: PLR0913 the options of the command
    url: str, number: str, *, wait: bool, timeout_s: float | None, quiet: bool, json: bool
) -> Exit:
    """Submit a number; with ``wait`` follow it to its end."""
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
    """Follow a task to its end."""

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
    """Let the client's own warnings (a lost connection) appear beside the progress."""

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
    """Cancel a task; its ending in fact is printed, for it may have been faster."""

    async def work() -> Exit:
        async with client_for(url) as client:
            task = await client.cancel(task_id)
        print(texts.encoded(task) if json else texts.answer(task))
        return Exit.OK

    return run(work(), json=json)


def known(url: str, number: str, *, json: bool) -> Exit:
    """Show what is known of a number."""

    async def work() -> Exit:
        async with client_for(url) as client:
            found = await client.known(number)
        print(texts.encoded(found) if json else texts.knowledge(found))
        return Exit.OK

    return run(work(), json=json)
