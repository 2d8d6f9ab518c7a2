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
    """Integers of either sign and expressions come back as their primes."""
    submitted = await client.submit(number)
    task = await client.wait(submitted.task_id)

    assert task.succeeded
    assert primes == task.primes


async def test_an_answer_may_come_with_the_submission(client: Client) -> None:
    """Waiting a little saves the second call."""
    assert [3, 5] == (await client.submit(15, wait_s=20)).primes


async def test_watch_ends_with_the_task(client: Client, hard: str) -> None:
    """States come in order of their versions, and the last one alone is done."""
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
    """Each of them ends once, over one socket."""
    items = await client.batch([f"{n}^2+1" for n in range(2, 62)])
    ids = [item.task.task_id for item in items if item.task]
    ended = [task.task_id async for task in client.watch(*ids) if task.done]

    assert 60 == len(ids)
    assert sorted(ids) == sorted(ended)


async def test_the_same_task_named_twice_ends_once(client: Client) -> None:
    """Names are a set."""
    task = await client.submit(91)
    ended = [state async for state in client.watch(task.task_id, task.task_id) if state.done]

    assert 1 == len(ended)


async def test_a_batch_answers_for_each_number(client: Client) -> None:
    """A bad number is a problem of its own, in its place."""
    items = await client.batch(["15", "abc", 21])

    assert [0, 1, 2] == [item.index for item in items]
    assert [True, False, True] == [item.task is not None for item in items]
    assert items[1].problem is not None
    assert "not-a-number" == items[1].problem.name


async def test_waiting_can_be_given_up(client: Client, hard: str) -> None:
    """The error is a TimeoutError, names the task, and the task goes on."""
    task = await client.submit(hard)
    with pytest.raises(TimeoutError, match=task.task_id) as caught:
        await client.wait(task.task_id, timeout_s=0.2)

    assert isinstance(caught.value, StillRunning)
    assert not (await client.get(task.task_id)).done


async def test_the_list_is_newest_first_and_stops_when_told(client: Client) -> None:
    """It goes over pages by itself."""
    items = await client.batch(range(2, 107))
    made = [item.task.task_id for item in items if item.task]
    listed = [task.task_id async for task in client.list(newest=105)]

    assert list(reversed(made)) == listed


async def test_known_numbers(client: Client) -> None:
    """What is known needs no task, and an expression names its value."""
    await client.submit(1234, wait_s=20)
    known = await client.known("2*617")

    assert ("1234", "FF") == (known.number, known.status)
    assert 1234 == math.prod(int(factor.prime) for factor in known.factors)


@pytest.mark.parametrize("number", ["", "abc", "1/0", "9^9^9^9", "1" * 2000])
async def test_bad_numbers_are_refused(client: Client, number: int | str) -> None:
    """The error tells what is wrong with the number."""
    with pytest.raises(NumberRefused):
        await client.submit(number)


async def test_integers_that_python_will_not_write_are_refused(client: Client) -> None:
    """They are over every limit that a service may have."""
    with pytest.raises(NumberRefused):
        await client.submit(10**5000)


@pytest.mark.parametrize("task_id", [NOBODY, "x", "../factor", "a/b?c#d"])
async def test_unknown_tasks(client: Client, task_id: str) -> None:
    """Every way to ask for a task says that it is not there."""
    for call in (client.get, client.cancel, client.wait):
        with pytest.raises(UnknownTask):
            await call(task_id)


async def test_nobody_there() -> None:
    """The error names the address and what to look at."""
    [port] = free_ports(1)
    address = f"http://127.0.0.1:{port}"
    async with Client(address, retry_for_s=0.1) as client:
        for call in (client.submit(15), client.get(NOBODY), client.wait(NOBODY)):
            with pytest.raises(Unreachable, match=f"{address} .Connection refused.*FACTORLINE_URL"):
                await call


@pytest.mark.parametrize("address", ["127.0.0.1:8080", "ftp://x", "http://"])
def test_what_is_no_address(address: str) -> None:
    """It is refused before anything is sent."""
    with pytest.raises(InvalidURL, match=r"something like http://127\.0\.0\.1:8080"):
        Client(address)


async def test_a_page_of_the_service_is_not_the_service(url: str) -> None:
    """A wrong path is noticed, and not taken for an answer."""
    async with Client(f"{url}/docs", retry_for_s=0.1) as client:
        with pytest.raises(NotFactorline, match="FACTORLINE_URL"):
            await client.submit(15)


async def test_a_lost_answer_makes_no_second_task(url: str) -> None:
    """Submissions and batches whose answers are cut off are sent again under the same key."""
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


def test_the_blocking_face(url: str) -> None:
    """It does the same without an event loop of the caller's."""
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


async def test_a_client_must_be_opened() -> None:
    """The error says how."""
    with pytest.raises(RuntimeError, match="async with"):
        await Client("http://127.0.0.1:1").get(NOBODY)


async def test_leaving_a_watch_leaves_the_task(client: Client, hard: str) -> None:
    """Breaking out of the loop, or cancelling it, cancels no task."""
    task = await client.submit(hard)
    async for _ in client.watch(task.task_id):
        break
    waiting = asyncio.create_task(client.wait(task.task_id))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert not (await client.get(task.task_id)).done
