"""The client for programs without an event loop: the same methods, each of them blocking."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from factorline.api import Client
from factorline.models import BatchItem, KnownNumber, Task

Value = TypeVar("Value")


class SyncClient:
    """A blocking client; use it in ``with``. It takes what `Client` takes.

    It runs an event loop of its own in the calling thread while a method blocks, and in no other
    time, so that there is no thread to share anything with.
    """

    def __init__(self, url: str | None = None, **options: Any) -> None:
        self._client = Client(url, **options)
        self._runner = asyncio.Runner()

    def __repr__(self) -> str:
        """Tell which service it is for."""
        return f"<{type(self).__name__} {self._client.url}>"

    def __enter__(self) -> Self:
        """Open the client."""
        self._run(self._client.__aenter__())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the client's connections; tasks go on."""
        try:
            self._run(self._client.__aexit__(kind, error, trace))
        finally:
            self._runner.close()

    def submit(
        self, number: int | str, *, wait_s: int = 0, idempotency_key: str | None = None
    ) -> Task:
        """Return a new task (see `Client.submit`)."""
        return self._run(
            self._client.submit(number, wait_s=wait_s, idempotency_key=idempotency_key)
        )

    def get(self, task_id: str) -> Task:
        """Return a task as it is now."""
        return self._run(self._client.get(task_id))

    def cancel(self, task_id: str) -> Task:
        """Cancel a task unless it has ended; return how it ended."""
        return self._run(self._client.cancel(task_id))

    def list(self, *, newest: int | None = None) -> Iterator[Task]:
        """Yield one's tasks, newest first."""
        return self._iterate(self._client.list(newest=newest))

    def known(self, number: int | str) -> KnownNumber:
        """Return what is known of a number."""
        return self._run(self._client.known(number))

    def wait(self, task_id: str, *, timeout_s: float | None = None) -> Task:
        """Return the task when it is done."""
        return self._run(self._client.wait(task_id, timeout_s=timeout_s))

    def watch(self, *task_ids: str) -> Iterator[Task]:
        """Yield every change of tasks until all are done."""
        return self._iterate(self._client.watch(*task_ids))

    def batch(self, numbers: Sequence[int | str]) -> Sequence[BatchItem]:
        """Return for each number its new task or the problem with it."""
        return self._run(self._client.batch(numbers))

    def _run(self, work: Coroutine[Any, Any, Value]) -> Value:
        return self._runner.run(work)

    def _iterate(self, values: AsyncGenerator[Value, None]) -> Iterator[Value]:
        async def following() -> tuple[Value] | None:
            async for value in values:
                return (value,)
            return None

        try:
            while found := self._run(following()):
                yield found[0]
        finally:
            self._run(values.aclose())
