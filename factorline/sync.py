"""The client for programs without an event loop: the same methods as `Client`, but blocking."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from factorline.api import Client
from factorline.models import BatchItem, KnownNumber, Task

Value = TypeVar("Value")


class SyncClient:
    """A blocking client, to be used in ``with``; its arguments are those of `Client`.

        with SyncClient() as client:
            print(client.submit(1234, wait_s=10).primes)

    Each method runs an event loop in the calling thread until it returns. There is no second thread.
    """

    def __init__(self, url: str | None = None, **options: Any) -> None:
        self._client = Client(url, **options)
        self._runner = asyncio.Runner()

    def __repr__(self) -> str:
        """Show the URL of the service, but not the key."""
        return f"<{type(self).__name__} {self._client.url}>"

    def __enter__(self) -> Self:
        """Open the client. This sends nothing."""
        self._run(self._client.__aenter__())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the client's connections; its tasks go on."""
        try:
            self._run(self._client.__aexit__(kind, error, trace))
        finally:
            self._runner.close()

    def submit(
        self, number: int | str, *, wait_s: int = 0, idempotency_key: str | None = None
    ) -> Task:
        """Submit a number or an expression and return its task (see `Client.submit`)."""
        return self._run(
            self._client.submit(number, wait_s=wait_s, idempotency_key=idempotency_key)
        )

    def get(self, task_id: str) -> Task:
        """Return a task as it is now."""
        return self._run(self._client.get(task_id))

    def cancel(self, task_id: str) -> Task:
        """Cancel a task, unless it is done already, and return how it ended."""
        return self._run(self._client.cancel(task_id))

    def erase(self, task_id: str) -> None:
        """Erase a task that has ended (see `Client.erase`)."""
        self._run(self._client.erase(task_id))

    def erase_all(self) -> int:
        """Erase all of your tasks that have ended, and return how many they were."""
        return self._run(self._client.erase_all())

    def list(self, *, newest: int | None = None) -> Iterator[Task]:
        """Yield your tasks, newest first."""
        return self._iterate(self._client.list(newest=newest))

    def known(self, number: int | str) -> KnownNumber:
        """Return what the service knows about a number."""
        return self._run(self._client.known(number))

    def wait(self, task_id: str, *, timeout_s: float | None = None) -> Task:
        """Wait until a task is done, and return it."""
        return self._run(self._client.wait(task_id, timeout_s=timeout_s))

    def watch(self, *task_ids: str) -> Iterator[Task]:
        """Yield every change of some tasks until all are done."""
        return self._iterate(self._client.watch(*task_ids))

    def batch(self, numbers: Sequence[int | str]) -> Sequence[BatchItem]:
        """Submit many numbers; return for each one, in order, its task or the problem with it."""
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
