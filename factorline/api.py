"""The asynchronous client: one method for each thing that the service can do."""

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
from factorline.errors import NumberRefused, StillRunning, UnknownTask
from factorline.models import (
    BatchItem,
    BatchResult,
    Erased,
    Health,
    KnownNumber,
    Problem,
    Task,
    TaskPage,
)
from factorline.transport import Response, Transport
from factorline.watching import Watch

DEFAULT_URL = "http://127.0.0.1:8080"
BATCH_SIZE = 200
"""Numbers in one batch request; a request that the service finds too large is split in two."""
CONTENT_TOO_LARGE = 413
_DECIMAL = re.compile(r"[+-]?[0-9]{1,4000}", re.ASCII)
LONGEST_WAIT_SECONDS = 60


def default_url() -> str:
    """Return the URL in `FACTORLINE_URL` or, if it is not set, the one that `factorline serve` listens on."""
    return os.environ.get("FACTORLINE_URL") or DEFAULT_URL


class Client:
    """An asynchronous client, to be used in ``async with``.

        async with Client() as client:
            task = await client.submit("2^128+1")
            print((await client.wait(task.task_id)).primes)

    Every method raises the errors of `factorline.errors`. Every factorization that the service
    returns is checked: its factors are multiplied before it is handed on.

    Args:
        url: The URL of the service; default `FACTORLINE_URL`, else http://127.0.0.1:8080.
        api_key: Sent as ``Authorization: Bearer``; default `FACTORLINE_API_KEY`, else no key.
        retry_for_s: For how many seconds a request that fails is retried.
        outage_s: How many seconds the service may be unreachable while tasks are watched.

    Raises:
        InvalidURL: The URL cannot be that of a service.

    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        retry_for_s: float = 30.0,
        outage_s: float = 3600.0,
    ) -> None:
        key = api_key or os.environ.get("FACTORLINE_API_KEY")
        self._retry_for_s = retry_for_s
        self._outage_s = outage_s
        self._transport = Transport(url or default_url(), key, retry_for_s=retry_for_s)

    def __repr__(self) -> str:
        """Show the URL of the service, but not the key."""
        return f"<{type(self).__name__} {self.url}>"

    @property
    def url(self) -> str:
        """The URL of the service."""
        return self._transport.url

    async def __aenter__(self) -> Self:
        """Open the client. This sends nothing."""
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the client's connections; its tasks go on."""
        await self._transport.__aexit__(kind, error, trace)

    async def submit(
        self, number: int | str, *, wait_s: int = 0, idempotency_key: str | None = None
    ) -> Task:
        """Submit a number or an expression and return its task.

        The request carries an Idempotency-Key, so it creates one task even if it has to be retried.

        Args:
            number: An integer, its digits, or an expression such as ``"2^128+1"``.
            wait_s: Give the service up to this long (at most 60 s) to finish before it answers.
            idempotency_key: A key of your own, to repeat a submission safely.

        Raises:
            NumberRefused: The service does not accept the number; the message says why.

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
        """Return a task as it is now.

        Raises:
            UnknownTask: There is no such task.

        """
        return checked((await self._call("GET", _path(task_id))).read(Task))

    async def cancel(self, task_id: str) -> Task:
        """Cancel a task, unless it is done already, and return how it ended.

        Raises:
            UnknownTask: There is no such task.

        """
        return checked((await self._call("DELETE", _path(task_id))).read(Task))

    async def erase(self, task_id: str) -> None:
        """Erase a task that has ended. What is known of its number stays.

        A task that does not exist is taken for one that has been erased.

        Raises:
            Refused: The task has not ended: cancel it first.

        """
        with contextlib.suppress(UnknownTask):
            await self._call("DELETE", _path(task_id), params={"erase": "true"})

    async def erase_all(self) -> int:
        """Erase all of your tasks that have ended, and return how many they were."""
        count = 0
        while True:
            done = (await self._call("DELETE", "/tasks")).read(Erased)
            count += done.erased
            if not done.more:
                return count

    async def list(self, *, newest: int | None = None) -> AsyncGenerator[Task, None]:
        """Yield your tasks, newest first: all of them, or only the ``newest`` ones."""
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
        """Return what the service knows about a number, without starting any work."""
        quoted = urllib.parse.quote(str(_digits(number)), safe="")
        return checked_number((await self._call("GET", f"/numbers/{quoted}")).read(KnownNumber))

    async def ready(self) -> Health:
        """Return the state of a service that accepts work.

        Raises:
            Unavailable: It does not accept work now.

        """
        return (await self._call("GET", "/readyz")).read(Health)

    async def watch(self, *task_ids: str) -> AsyncGenerator[Task, None]:
        """Yield every change of some tasks until all are done; each task is reported as done once.

        This survives lost connections and restarts of the service. Where WebSockets do not work it
        polls. Leaving the loop early leaves the tasks running.
        """
        watch = Watch(
            self._transport, task_ids, retry_for_s=self._retry_for_s, outage_s=self._outage_s
        )
        async with contextlib.aclosing(watch.states()) as states:
            async for task in states:
                yield task

    async def wait(self, task_id: str, *, timeout_s: float | None = None) -> Task:
        """Wait until a task is done, and return it.

        Raises:
            StillRunning: The task is not done after ``timeout_s``; it goes on.

        """
        try:
            async with asyncio.timeout(timeout_s):
                async with contextlib.aclosing(self.watch(task_id)) as states:
                    async for task in states:
                        if task.done:
                            return task
        except TimeoutError as error:
            raise StillRunning(task_id, timeout_s or 0.0) from error
        raise AssertionError("watch() ended before its task was done")

    async def batch(self, numbers: Sequence[int | str]) -> Sequence[BatchItem]:
        """Submit many numbers; return for each one, in order, its task or the problem with it.

        A number that is refused does not affect the others, and no number gets two tasks.
        """
        requests = [
            await self._submit_batch(numbers[first : first + BATCH_SIZE])
            for first in range(0, len(numbers), BATCH_SIZE)
        ]
        items = (item for request in requests for item in request)
        return [msgspec.structs.replace(item, index=i) for i, item in enumerate(items)]

    async def _submit_batch(self, numbers: Sequence[int | str]) -> Sequence[BatchItem]:
        """Submit numbers in one request or, if the service finds it too large, in two halves."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        body = {"numbers": [_digits(number) for number in numbers]}
        response = await self._transport.request("POST", "/tasks/batch", headers=headers, body=body)
        if response.status == CONTENT_TOO_LARGE and len(numbers) > 1:
            half = len(numbers) // 2
            return [
                *await self._submit_batch(numbers[:half]),
                *await self._submit_batch(numbers[half:]),
            ]
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
    """Return a number as text, because many programs misread large integers in JSON."""
    try:
        return str(number)
    except ValueError as error:  # over 4300 digits, Python's limit (CVE-2020-10735)
        problem = Problem(
            type="/problems/number-too-large",
            title="The number is too large",
            status=400,
            detail=f"The number is too large to be converted to digits: {error}.",
        )
        raise NumberRefused(problem) from error


def _value(number: int | str) -> int | None:
    """Return the value of a number, or None if it is an expression, which only the service evaluates."""
    if isinstance(number, int):
        return number
    return int(number) if _DECIMAL.fullmatch(number) else None
