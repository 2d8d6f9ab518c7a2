"""How a task meets its factorization: join, read, cancel. Gateways and sweepers do the same steps.

Every step can be repeated, and a crash between any two of them is mended by repeating.
"""

import asyncio
import contextlib
import functools
import logging
import math
import time
from collections.abc import Sequence

import msgspec
import structlog

from common import errors
from common.broker import Broker
from common.domain import (
    BigInt,
    Control,
    Ending,
    Event,
    Factorization,
    Lane,
    Status,
    Task,
    factorizations,
    new_task_id,
    shortened,
    small,
)
from common.places import Places
from common.runtime import failpoints
from common.runtime.concurrency import side_by_side
from common.runtime.logs import about
from common.store import Store

log = structlog.stdlib.get_logger(__name__)

LEFT_BEHIND_SECONDS = 3.0
"""A step that is not finished after this time was cut off."""

SMALLEST_FACTORABLE = 2
"""0 and 1 are their own answers and have no factorization."""

CONCURRENT_JOINS = 32


def new_task(
    number: int, expression: str, owner: str, *, idempotency_key: str | None = None
) -> Task:
    """Return a task for a number; one that is small (see `common.domain.small`) has ended before it began."""
    now = time.time()
    trivial = abs(number) < small.LIMIT
    return Task(
        task_id=new_task_id(),
        owner=owner,
        number=BigInt(number),
        expression=expression,
        created_at=now,
        joined=trivial,
        idempotency_key=idempotency_key,
        ended=Ending(status=Status.SUCCEEDED, at=now) if trivial else None,
    )


def aim(task: Task, known: Factorization | None) -> Task:
    """Return the new task with the round that will end it, ended already if the answer is known."""
    if known is None or known.ended is None:
        return msgspec.structs.replace(task, round=known.round if known else 1)
    if known.may_resume:
        return msgspec.structs.replace(task, round=known.round + 1)
    ending = msgspec.structs.replace(known.ended, at=task.created_at)
    return msgspec.structs.replace(task, round=known.round, joined=True, ended=ending)


async def join(store: Store, broker: Broker, task: Task) -> Factorization:
    """Make sure that the live task's factorization exists and is wanted, and publish its outbox.

    The order matters: the task was inserted before. Whoever rests a factorization reads it first
    and counts live tasks second, so either the count sees this task or the touch below makes the
    resting swap fail. A broker that is down is no error here: the sweeper publishes.
    """
    created = factorizations.begin(task.key, time.time())
    known = await store.create_factorization(created)
    while known != created and (successor := await _successor(store, task, known)) is not known:
        if await store.swap_factorization(successor):
            known = successor
            break
        known = await require(store, task.key)
    await publish_outbox(store, broker, known)
    failpoints.hit("join.published")
    await end_live_tasks(store, known)  # it may have ended between this task's aim and its insert
    await store.mark_joined([task.task_id])
    return known


async def _successor(store: Store, task: Task, known: Factorization) -> Factorization:
    now = time.time()
    if known.ended is not None:
        if not (known.may_resume and task.round > known.round):
            return known
        await store.end_tasks(known.number, up_to_round=known.round, ending=known.ended)
        return known.resumed(now)
    return known.touched(now) if known.wanted else known.resumed(now)


async def require(store: Store, number: int) -> Factorization:
    """Return a factorization that must be there: they are never deleted."""
    known = await store.get_factorization(number)
    if known is None:
        message = f"the factorization of {shortened(number)} has vanished from the store"
        raise LookupError(message)
    return known


async def publish_outbox(
    store: Store, broker: Broker, known: Factorization, *, left_before: float = math.inf
) -> bool:
    """Publish what the outbox holds and clear it; return False if the broker is down.

    Whoever has just written this version leaves the units of earlier ones to those who wrote them,
    unless they were issued before `left_before`.
    """
    units = known.units_in_outbox(left_before=left_before)
    if not units:
        return True
    try:
        await broker.publish(units)
    except errors.BrokerUnavailable:
        return False
    await store.clear_outbox(known.number, [unit.unit_id for unit in units])
    return True


async def read(store: Store, task_id: str, owner: str) -> tuple[Task, Factorization | None]:
    """Return a task with what is known of its number, settling the task if the work has ended.

    A task is reported as ended only after its own ending is written, so no later cancellation can
    contradict the report.
    """
    return await settle(store, await store.get_task(task_id, owner))


async def look_up(store: Store, key: int, *, at: float) -> Factorization | None:
    """Return what is known of a number >= 0; of a small one, computed now as if at that time."""
    if key < SMALLEST_FACTORABLE:
        return None
    if key < small.LIMIT:
        return small.factorization(key, at)
    return await store.get_factorization(key)


async def settle(store: Store, task: Task) -> tuple[Task, Factorization | None]:
    """Return the task as `read` does."""
    known = await look_up(store, task.key, at=task.created_at)
    if task.ended is None and known is not None and known.ended and task.round <= known.round:
        task = await store.end_task(task.task_id, known.ended)
    return task, known


async def end_live_tasks(store: Store, known: Factorization) -> None:
    """Write the ending of an ended factorization into every task that waited for it."""
    if known.ended is not None:
        await store.end_tasks(known.number, up_to_round=known.round, ending=known.ended)


async def cancel(store: Store, broker: Broker, task: Task) -> Task:
    """End the task as cancelled unless it has ended; rest its number if nobody else wants it.

    The factorization gets a new version in either case, so that every gateway hears of it.
    """
    task, known = await settle(store, task)
    if task.ended is not None:
        return task
    ending = Ending(status=Status.CANCELLED, at=time.time(), reason="cancelled on request")
    task = await store.end_task(task.task_id, ending)
    if known is None:  # it still waited
        await _tell(broker, Event(number=task.key, version=0, urgent=True))
    while known is not None and known.active:
        wanted = await store.any_live(task.key)
        after = known.touched(time.time()) if wanted else known.rested(time.time())
        if await store.swap_factorization(after):
            await tell(broker, after, urgent=True)
            if not wanted:
                await tell_workers(broker, task.key)
            break
        known = await require(store, task.key)
    return task


async def tell(broker: Broker, known: Factorization, *, urgent: bool = False) -> None:
    """Tell every gateway the version of a factorization; a broker that is down loses only a hint."""
    urgent = urgent or known.ended is not None
    await _tell(broker, Event(number=known.number, version=known.version, urgent=urgent))


async def _tell(broker: Broker, event: Event) -> None:
    try:
        await broker.tell(event)
    except errors.BrokerUnavailable:
        return  # gateways read again what they have subscribers for


async def tell_workers(broker: Broker, number: int) -> None:
    """Ask the workers to look which of a number's units they should stop."""
    try:
        await broker.control(Control(number=BigInt(number)))
    except errors.BrokerUnavailable:
        return  # the units end by themselves, and their outcomes are ignored


async def accept(
    store: Store,
    broker: Broker,
    places: Places,
    tasks: Sequence[Task],
    *,
    until: float | None = None,
) -> list[Task]:
    """Insert new tasks of one owner durably and join as many as there are places; return them as stored.

    The rest waits in the store, and workers join it as places get free. So does what could not be joined
    until that time of the event loop, or because the store went away.

    Raises:
        errors.StoreUnavailable: Nothing may have been accepted; the same call can be repeated.

    """

    async def aimed(task: Task) -> Task:
        return task if task.ended else aim(task, await store.get_factorization(task.key))

    free, ready = await asyncio.gather(
        _take(places, tasks), side_by_side(aimed, tasks, at_once=CONCURRENT_JOINS)
    )
    stored = await store.insert_tasks(ready)
    failpoints.hit("accept.inserted")
    if len(stored) > 1:
        log.info("Tasks are accepted", count=len(stored))
    for task in stored:
        level = logging.DEBUG if len(stored) > 1 else logging.INFO  # a batch has 100 000
        log.log(level, "A task is accepted", task_id=task.task_id, **about(task.number))
    fresh = [task for task in stored if not task.joined and task.ended is None]
    begun = [task for lane in Lane for task in _of_lane(fresh, lane)[: free[lane]]]
    with contextlib.suppress(TimeoutError, errors.StoreUnavailable):
        async with asyncio.timeout_at(until):
            await side_by_side(
                functools.partial(join, store, broker), begun, at_once=CONCURRENT_JOINS
            )
    return stored


async def _take(places: Places, tasks: Sequence[Task]) -> dict[Lane, int]:
    """Return the places that there are for the tasks, by lane."""
    wanted = {lane: _of_lane(tasks, lane) for lane in Lane}
    return {
        lane: await places.take(some[0].owner, lane, len(some)) if some else 0
        for lane, some in wanted.items()
    }


def _of_lane(tasks: Sequence[Task], lane: Lane) -> list[Task]:
    return [task for task in tasks if task.ended is None and task.lane is lane]
