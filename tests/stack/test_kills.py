"""Any process may be killed at any moment: no task is lost, and no result ever changes."""

import asyncio
import contextlib
import random
import signal

import psutil
import pytest

from common.broker import Queue
from common.broker.rabbit import RabbitBroker
from common.store.mongo import MongoStore
from infra.local.programs import Worker
from infra.local.stack import Stack
from infra.tools.workload import check, numbers
from tests import waiting
from tests.stack.client import Client, Task, semiprimes

pytestmark = pytest.mark.timeout(300)

HARD = next(number.value for number in numbers(65) if number.name == "C65_0")
"""It takes a worker many seconds."""


async def at_work(stack: Stack, store: MongoStore, task: Task) -> Worker:
    """Return a worker that says it has a unit of the task's number in hand."""
    found: list[Worker] = []

    async def says_so() -> bool:
        known = await store.get_factorization(int(task["number"]))
        outstanding = set(known.outstanding) if known else set()
        pids = {
            status.pid
            for status in await store.list_workers(seen_after=0)
            if outstanding & set(status.running)
        }
        found[:] = [worker for worker in stack.workers if worker.running and worker.pid in pids]
        return bool(found)

    await waiting.until(says_so, "a worker at work", seconds=60)
    return found[0]


def family(worker: Worker) -> list[psutil.Process]:
    """Return the engine processes of a worker."""
    return psutil.Process(worker.pid).children(recursive=True)


def busy(process: psutil.Process) -> bool:
    """Return whether a process has computed for a while."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.cpu_percent(interval=0.2) > 30
    return False


async def gone(processes: list[psutil.Process]) -> None:
    """Return when none of the processes is left."""
    await waiting.until(
        lambda: (
            not any(
                process.is_running() and process.status() != psutil.STATUS_ZOMBIE
                for process in processes
            )
        ),
        "the end of the engine's processes",
        seconds=5,
    )


async def test_the_workload_is_factored(stack: Stack) -> None:
    """Every number of the file that is within reach gets the right answer."""
    assert [] == await check(stack.url, numbers())


async def test_a_worker_killed_in_the_middle_of_a_unit(
    stack: Stack, store: MongoStore, client: Client
) -> None:
    """The other worker gets the unit, and no engine process outlives its worker."""
    task = await client.submit(HARD)
    worker = await at_work(stack, store, task)
    children = family(worker)
    worker.kill()
    await gone(children)

    await client.all_right([task])


async def test_an_engine_process_killed_again_and_again(
    stack: Stack, store: MongoStore, client: Client
) -> None:
    """Its worker survives, and starts a new one each time."""
    [number] = semiprimes(1, digits=64, seed=5)
    task = await client.submit(number)
    for _ in range(2):
        worker = await at_work(stack, store, task)
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in family(worker):
                child.kill()

    await client.all_right([task])
    assert worker.running


async def test_a_cancelled_number_is_computed_no_further(
    stack: Stack, store: MongoStore, client: Client
) -> None:
    """The running engine process is stopped, and the slot serves others."""
    [number] = semiprimes(1, digits=90, seed=6)
    task = await client.submit(number)
    worker = await at_work(stack, store, task)
    cancelled = await client.cancel(task)

    assert ("cancelled", True) == (cancelled["status"], cancelled["done"])
    await waiting.until(lambda: not any(busy(child) for child in family(worker)), "idle children")
    await client.all_right(await client.submit_all(semiprimes(4, digits=50, seed=7)))
    assert cancelled == await client.get(task)


async def test_a_worker_told_to_stop_gives_back_its_unit(
    stack: Stack, store: MongoStore, client: Client
) -> None:
    """SIGTERM lets the unit end or gives it back; a second one ends the worker at once."""
    [number] = semiprimes(1, digits=64, seed=8)
    task = await client.submit(number)
    worker = await at_work(stack, store, task)
    children = family(worker)
    worker.signal(signal.SIGTERM)
    worker.signal(signal.SIGTERM)
    await waiting.until(lambda: not worker.running, "the worker's end")
    await gone(children)

    await client.all_right([task])


async def test_posting_while_the_broker_is_down_and_the_gateway_dies(
    stack: Stack, client: Client
) -> None:
    """Every number that was answered with 202 is factored once the broker is back."""
    stack.rabbitmq.kill()
    tasks = await client.submit_all(semiprimes(20, digits=30, seed=1))
    for gateway in stack.gateways:
        gateway.kill()
    for process in (*stack.gateways, stack.rabbitmq):
        await process.start()
    await stack.haproxy.start()
    await waiting.until(stack.haproxy.ready, "the balancer to see its gateways")

    await client.all_right(tasks)


async def test_a_broker_killed_with_a_backlog(
    stack: Stack, store: MongoStore, client: Client
) -> None:
    """Every confirmed unit is there after kill -9."""
    for worker in stack.workers:
        await worker.stop(grace_seconds=5)
    tasks = await client.submit_all(semiprimes(50, digits=30, seed=2))
    known = await store.get_factorization(int(tasks[0]["number"]))
    assert known is not None
    stack.rabbitmq.kill()
    for process in (stack.rabbitmq, *stack.workers):
        await process.start()

    await client.all_right(tasks)


async def test_300_duplicate_and_reordered_deliveries(
    stack: Stack, store: MongoStore, client: Client
) -> None:
    """A unit that is delivered six times counts once, and the dead-letter queue stays empty."""
    for worker in stack.workers:
        await worker.stop(grace_seconds=5)
    # No more than begin without a worker, should one gateway get them all.
    tasks = await client.submit_all(semiprimes(60, digits=36, seed=3))
    units = []
    for task in tasks:
        known = await store.get_factorization(int(task["number"]))
        assert known is not None
        units += [entry.unit for entry in known.outstanding.values()] * 5
    random.Random(4).shuffle(units)
    broker = RabbitBroker(stack.rabbitmq.amqp_url, name="test")
    await broker.open()
    await broker.publish(units)
    assert len(units) >= 300
    for worker in stack.workers:
        await worker.start()
    await client.all_right(tasks)

    async def drained() -> bool:
        return not any([await broker.depth(queue) for queue in (Queue.SURVEY, Queue.WORK)])

    await waiting.until(drained, "empty queues", seconds=60)
    assert 0 == await broker.depth(Queue.DEAD)
    await broker.close()
    for task in tasks:
        known = await store.get_factorization(int(task["number"]))
        assert known is not None
        assert (1, {}) == (known.issued, known.outstanding)
    await client.all_right(tasks)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_store_that_is_down_is_a_503(
    how: signal.Signals, stack: Stack, client: Client
) -> None:
    """Clients are soon told to come back later, and are served again when the store is back."""
    stack.mongo.signal(how)
    try:
        async with asyncio.timeout(10):
            refused = await client.session.post("/factor", json={"number": 1234})
            body = await refused.json()
    finally:
        stack.mongo.signal(signal.SIGCONT)
    assert (503, "/problems/store-unavailable") == (refused.status, body["type"])
    assert int(refused.headers["Retry-After"]) > 0
    await stack.mongo.start()

    async def accepted() -> bool:
        response = await client.session.post("/factor", json={"number": 4321})
        return response.status == 202

    await waiting.until(accepted, "a gateway that accepts again", seconds=30)
