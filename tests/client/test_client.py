"""The client against a whole service: what it returns and what it refuses."""

import asyncio
import math

import pytest

from factorline import Client, SyncClient
from factorline.errors import (
    InvalidURL,
    NotFactorline,
    NumberRefused,
    StillRunning,
    UnknownTask,
    Unreachable,
)
from infra.local.processes import free_ports
from tests.proxy import HttpProxy

NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    ("number", "primes"),
    [
        (1234, [2, 617]),
        ("2^64+1", [274177, 67280421310721]),
        (-12, [-1, 2, 2, 3]),
        ("7", [7]),
        (1, []),
    ],
)
async def test_a_number_is_factored(client: Client, number: int | str, primes: list[int]) -> None:
    """Positive and negative integers and expressions are all accepted."""
    submitted = await client.submit(number)
    task = await client.wait(submitted.task_id)

    assert task.succeeded
    assert primes == task.primes


async def test_an_answer_may_come_with_the_submission(client: Client) -> None:
    """With a short wait, one request is enough."""
    assert [3, 5] == (await client.submit(15, wait_s=20)).primes


async def test_watch_ends_with_the_task(client: Client, hard: str) -> None:
    """States arrive in the order of their versions, and only the last one is done."""
    task = await client.submit(hard)
    states = []
    async for state in client.watch(task.task_id):
        states.append(state)
        if len(states) == 1:
            await client.cancel(task.task_id)

    assert "cancelled" == states[-1].status
    assert [False] * (len(states) - 1) + [True] == [state.done for state in states]
    versions = [state.version for state in states]
    assert sorted(set(versions)) == versions


async def test_many_tasks_are_watched_together(client: Client) -> None:
    """Each is reported as done once, over a single socket."""
    items = await client.batch([f"{n}^2+1" for n in range(2, 62)])
    ids = [item.task.task_id for item in items if item.task]
    ended = [task.task_id async for task in client.watch(*ids) if task.done]

    assert 60 == len(ids)
    assert sorted(ids) == sorted(ended)


async def test_a_task_given_twice_is_reported_once(client: Client) -> None:
    """Duplicate ids are ignored."""
    task = await client.submit(91)
    ended = [state async for state in client.watch(task.task_id, task.task_id) if state.done]

    assert 1 == len(ended)


async def test_a_batch_answers_for_each_number(client: Client) -> None:
    """A bad number has a problem in its place, and the others have tasks."""
    items = await client.batch(["15", "abc", 21])

    assert [0, 1, 2] == [item.index for item in items]
    assert [True, False, True] == [item.task is not None for item in items]
    assert items[1].problem is not None
    assert "not-a-number" == items[1].problem.name


async def test_waiting_has_a_timeout(client: Client, hard: str) -> None:
    """The error is a TimeoutError that names the task, and the task goes on."""
    task = await client.submit(hard)
    with pytest.raises(TimeoutError, match=task.task_id) as caught:
        await client.wait(task.task_id, timeout_s=0.2)

    assert isinstance(caught.value, StillRunning)
    assert not (await client.get(task.task_id)).done


async def test_the_list_is_newest_first_and_can_be_limited(client: Client) -> None:
    """The client follows the pages by itself."""
    items = await client.batch(range(2, 107))
    made = [item.task.task_id for item in items if item.task]
    listed = [task.task_id async for task in client.list(newest=105)]

    assert list(reversed(made)) == listed


async def test_known_numbers(client: Client) -> None:
    """This needs no task, and an expression stands for its value."""
    await client.submit(1234, wait_s=20)
    known = await client.known("2*617")

    assert ("1234", "FF") == (known.number, known.status)
    assert 1234 == math.prod(int(factor.prime) for factor in known.factors)


@pytest.mark.parametrize("number", ["", "abc", "1/0", "9^9^9^9", "1" * 2000])
async def test_bad_numbers_are_refused(client: Client, number: int | str) -> None:
    """The error says what is wrong with the number."""
    with pytest.raises(NumberRefused):
        await client.submit(number)


async def test_integers_that_python_does_not_convert_are_refused(client: Client) -> None:
    """They exceed every limit that a service can have."""
    with pytest.raises(NumberRefused):
        await client.submit(10**5000)


@pytest.mark.parametrize("task_id", [NOBODY, "x", "../factor", "a/b?c#d"])
async def test_unknown_tasks(client: Client, task_id: str) -> None:
    """Every call that takes a task id raises the same error."""
    for call in (client.get, client.cancel, client.wait):
        with pytest.raises(UnknownTask):
            await call(task_id)


async def test_no_service_is_running() -> None:
    """The error names the URL and the variable that sets it."""
    [port] = free_ports(1)
    address = f"http://127.0.0.1:{port}"
    async with Client(address, retry_for_s=0.1) as client:
        for call in (client.submit(15), client.get(NOBODY), client.wait(NOBODY)):
            with pytest.raises(Unreachable, match=f"{address} .Connection refused.*FACTORLINE_URL"):
                await call


@pytest.mark.parametrize("address", ["127.0.0.1:8080", "ftp://x", "http://"])
def test_an_invalid_url_is_refused(address: str) -> None:
    """This happens before anything is sent."""
    with pytest.raises(InvalidURL, match=r"something like http://127\.0\.0\.1:8080"):
        Client(address)


async def test_a_page_of_the_service_is_not_the_service(url: str) -> None:
    """A URL with a wrong path is noticed."""
    async with Client(f"{url}/docs", retry_for_s=0.1) as client:
        with pytest.raises(NotFactorline, match="FACTORLINE_URL"):
            await client.submit(15)


async def test_a_lost_response_makes_no_second_task(url: str) -> None:
    """Submissions and batches whose responses are lost are sent again with the same Idempotency-Key."""
    async with HttpProxy(url) as proxy, Client(proxy.url) as client:
        before = {task.task_id async for task in client.list(newest=100)}
        proxy.cut()
        proxy.answers_to_lose = 2
        task = await client.submit(1000003)
        proxy.cut()
        proxy.answers_to_lose = 1
        items = await client.batch([1000033, 1000037])
        ids = {task.task_id, *(item.task.task_id for item in items if item.task)}
        after = {task.task_id async for task in client.list(newest=100)}

    assert 0 == proxy.answers_to_lose
    assert ids == after - before


def test_the_blocking_client(url: str) -> None:
    """It does the same for a caller without an event loop."""
    with SyncClient(url) as client:
        task = client.submit("2^67-1")
        states = list(client.watch(task.task_id))
        answer = client.wait(task.task_id)
        [newest] = client.list(newest=1)

        assert [193707721, 761838257287] == answer.primes == states[-1].primes
        assert task.task_id == newest.task_id == client.get(task.task_id).task_id
        assert "FF" == client.known("2^67-1").status
        assert [2] == [len(client.batch([4, 6]))]
        assert client.cancel(task.task_id).succeeded
        client.erase(task.task_id)
        client.erase(task.task_id)
        with pytest.raises(UnknownTask):
            client.get(task.task_id)
        assert client.erase_all() >= 2
        assert 0 == client.erase_all()


async def test_a_client_has_to_be_opened() -> None:
    """The error says how to open it."""
    with pytest.raises(RuntimeError, match="async with"):
        await Client("http://127.0.0.1:1").get(NOBODY)


async def test_leaving_a_watch_leaves_the_task(client: Client, hard: str) -> None:
    """Breaking out of the loop, or cancelling it, does not cancel the task."""
    task = await client.submit(hard)
    async for _ in client.watch(task.task_id):
        break
    waiting = asyncio.create_task(client.wait(task.task_id))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert not (await client.get(task.task_id)).done
