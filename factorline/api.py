"""`Client`: everything that the service offers, as methods."""

import asyncio
import contextlib
import os
import re
import urllib.parse
import uuid
from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import Self

import msgspec

from factorline.checking import checked, checked_number
from factorline.errors import NumberRefused, StillRunning
from factorline.models import BatchItem, BatchResult, Health, KnownNumber, Problem, Task, TaskPage
from factorline.transport import Response, Transport
from factorline.watching import Watch

DEFAULT_URL = "http://127.0.0.1:8080"
CHUNK = 200
"""Numbers of one batch request; halved while the service finds it too large."""
TOO_LARGE = 413
_DECIMAL = re.compile(r"[+-]?[0-9]{1,4000}", re.ASCII)
LONGEST_WAIT_SECONDS = 60


def default_url() -> str:
    """Return where `FACTORLINE_URL` says the service is, else the address of `make run`."""
    return os.environ.get("FACTORLINE_URL") or DEFAULT_URL


class Client:
    """An asynchronous client; use it in ``async with``.

    Args:
        url: Where the service is; default `FACTORLINE_URL`, else http://127.0.0.1:8080.
        api_key: Sent as ``Authorization: Bearer``; default `FACTORLINE_API_KEY`, else none.
        patience_s: Seconds for which a call that fails is tried again.
        outage_s: Seconds that the service may be away while tasks are watched.

    Every method raises errors of `factorline.errors`. Every answer is multiplied back.

    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        patience_s: float = 30.0,
        outage_s: float = 3600.0,
    ) -> None:
        key = api_key or os.environ.get("FACTORLINE_API_KEY")
        self._patience_s = patience_s
        self._outage_s = outage_s
        self._transport = Transport(url or default_url(), key, patience_s=patience_s)

    def __repr__(self) -> str:
        """Tell which service it is for, and nothing of the key."""
        return f"<{type(self).__name__} {self.url}>"

    @property
    def url(self) -> str:
        """Where the service is."""
        return self._transport.url

    async def __aenter__(self) -> Self:
        """Open the client; nothing is sent yet."""
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the client's connections; tasks go on."""
        await self._transport.__aexit__(kind, error, trace)

    async def submit(
        self, number: int | str, *, wait_s: int = 0, idempotency_key: str | None = None
    ) -> Task:
        """Return a new task for a number or an expression; stay up to ``wait_s`` for its answer.

        However often it has to be sent, it makes one task: it carries an Idempotency-Key.

        Raises:
            NumberRefused: The service does not take the number; the message says why.

        """
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        if wait_s:
            headers["Prefer"] = f"wait={min(wait_s, LONGEST_WAIT_SECONDS)}"
        body = {"number": _digits(number)}
        response = await self._transport.request(
            "POST", "/factor", headers=headers, body=body, wait_s=wait_s
        )
        return checked(response.read(Task), asked=_value(number))

    async def get(self, task_id: str) -> Task:
        """Return a task as it is now. Raises `UnknownTask`."""
        return checked((await self._call("GET", _path(task_id))).read(Task))

    async def cancel(self, task_id: str) -> Task:
        """Cancel a task unless it has ended; return how it ended. Raises `UnknownTask`."""
        return checked((await self._call("DELETE", _path(task_id))).read(Task))

    async def list(self, *, newest: int | None = None) -> AsyncGenerator[Task, None]:
        """Yield one's tasks, newest first: all, or the ``newest`` so many."""
        left, cursor = newest, None
        while left is None or left > 0:
            params = {"limit": str(min(left or 100, 100)), **({"cursor": cursor} if cursor else {})}
            page = (await self._call("GET", "/tasks", params=params)).read(TaskPage)
            for task in page.tasks:
                yield checked(task)
            left = None if left is None else left - len(page.tasks)
            cursor = page.next_cursor
            if cursor is None:
                return

    async def known(self, number: int | str) -> KnownNumber:
        """Return what is known of a number, whoever asked for it; it starts no work."""
        quoted = urllib.parse.quote(str(_digits(number)), safe="")
        return checked_number((await self._call("GET", f"/numbers/{quoted}")).read(KnownNumber))

    async def ready(self) -> Health:
        """Return whether the service takes new work. Raises `Unavailable` if it does not."""
        return (await self._call("GET", "/readyz")).read(Health)

    async def watch(self, *task_ids: str) -> AsyncGenerator[Task, None]:
        """Yield every change of one or more tasks until all are done, each of them exactly once.

        It outlives lost connections and restarts of the service, and polls where WebSockets cannot
        be had. Leaving the loop leaves the tasks running.
        """
        watch = Watch(
            self._transport, task_ids, patience_s=self._patience_s, outage_s=self._outage_s
        )
        async with contextlib.aclosing(watch.states()) as states:
            async for task in states:
                yield task

    async def wait(self, task_id: str, *, timeout_s: float | None = None) -> Task:
        """Return the task when it is done.

        Raises:
            StillRunning: It is not done within ``timeout_s``; it goes on.

        """
        try:
            async with asyncio.timeout(timeout_s):
                async with contextlib.aclosing(self.watch(task_id)) as states:
                    async for task in states:
                        if task.done:
                            return task
        except TimeoutError as error:
            raise StillRunning(task_id, timeout_s or 0.0) from error
        message = "a watch ends with its task"
        raise AssertionError(message)

    async def batch(self, numbers: Sequence[int | str]) -> Sequence[BatchItem]:
        """Return for each number, in order, its new task or the problem with it.

        No number is lost because another one is bad, and none gets two tasks.
        """
        chunks = [
            await self._chunk(numbers[first : first + CHUNK])
            for first in range(0, len(numbers), CHUNK)
        ]
        together = (item for chunk in chunks for item in chunk)
        return [msgspec.structs.replace(item, index=i) for i, item in enumerate(together)]

    async def _chunk(self, numbers: Sequence[int | str]) -> Sequence[BatchItem]:
        """Submit some numbers in one request, or in halves if the service finds them too many."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        body = {"numbers": [_digits(number) for number in numbers]}
        response = await self._transport.request("POST", "/tasks/batch", headers=headers, body=body)
        if response.status == TOO_LARGE and len(numbers) > 1:
            half = len(numbers) // 2
            return [*await self._chunk(numbers[:half]), *await self._chunk(numbers[half:])]
        items = response.read(BatchResult).items
        for number, item in zip(numbers, items, strict=True):
            if item.task is not None:
                checked(item.task, asked=_value(number))
        return items

    async def _call(
        self, method: str, path: str, *, params: dict[str, str] | None = None
    ) -> Response:
        return await self._transport.request(method, path, params=params)


def _path(task_id: str) -> str:
    return f"/tasks/{urllib.parse.quote(task_id, safe='')}"


def _digits(number: int | str) -> str:
    """Return a number as the text to send: JSON integers of this size are misread by many."""
    try:
        return str(number)
    except ValueError as error:  # over 4300 digits, where Python stops (CVE-2020-10735)
        problem = Problem(
            type="/problems/number-too-large",
            title="The number is too large",
            status=400,
            detail=f"The number is too large to be written: {error}.",
        )
        raise NumberRefused(problem) from error


def _value(number: int | str) -> int | None:
    """Return the number that is meant, if that can be told without evaluating an expression."""
    if isinstance(number, int):
        return number
    return int(number) if _DECIMAL.fullmatch(number) else None
