"""How a task meets its factorization: accept, join, read, cancel.

Theory of operation. A task is one client's request; a factorization is all that is known about one
number, shared by every task that asks for it. They are two documents, and no transaction spans them.
Instead every step here can be repeated, and a crash between any two is mended by repeating them:

    accept   insert the tasks; join those that their owner has places for. The rest waits in the
             store, and a worker's admission joins it as places become free.
    join     create or wake the factorization, publish its outbox, mark the task joined. If this is
             cut off, the task stays unjoined, and admission joins it again.
    claim    the same for the composite parts of a number that is split: each is a factorization of its
             own, which the number waits for. If this is cut off, a sweeper claims them again.
    read     show a task. If its factorization has ended and the task does not say so yet, its ending
             is written first, so that no later cancellation can contradict what a client was shown.
    cancel   write the ending, then rest the factorization if no live task and no other number wants
             it, and then those that it waited for, if nobody else does.

Claiming and resting race. The task (or the number that waits) is written *before* the factorization is
touched, and whoever rests a factorization reads it *before* asking whether it is wanted: so either the
answer includes the newcomer, or the touch makes the resting swap fail.

A broker that is down is not an error here. What is in the outbox is published by a worker's sweeper, and
events are only hints: gateways read again whatever they have subscribers for.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import structlog
from msgspec.structs import replace

from common import errors
from common.announcer import Announcer
from common.broker import Broker
from common.domain import (
    BigInt,
    Control,
    Ending,
    Event,
    Factorization,
    KeyedRequest,
    Lane,
    Status,
    Task,
    factorizations,
    key_of,
    new_task_id,
    shortened,
    small,
)
from common.domain.keyed_requests import digest_of_numbers, request_id_of
from common.numbers import ParsedNumber
from common.places import Places
from common.quotas import Quotas
from common.runtime import failpoints
from common.runtime.concurrency import gather_limited
from common.runtime.logs import about
from common.store import Store

log = structlog.stdlib.get_logger(__name__)

LEFT_BEHIND_SECONDS = 3.0
"""A step that is not finished after this time was cut off."""
SMALLEST_FACTORABLE = 2
"""0 and 1 are their own answers and have no factorization."""
CONCURRENT_STEPS = 32
"""Look-ups or joins of one submission that are in flight at a time."""

State = tuple[Task, Factorization | None]
"""A task, and what is known of its number (None for 0 and 1, and before the task has joined)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What one request submits, read once from it and acted on once."""

    owner: str
    numbers: tuple[ParsedNumber, ...]
    idempotency_key: str | None = None
    """The client's name for the request, the same when it is repeated."""
    positions: tuple[int, ...] | None = None
    """The positions of the numbers in a batch, in which some were none; None for a single number."""
    wait_seconds: float = 0.0
    """How long the client stays for the answer."""
    expires_at: float | None = None
    """The event loop's time by which the client must hear something; None if it has no deadline."""

    @property
    def unanswered(self) -> int:
        """How many of the numbers need work: those that are not answered at once."""
        return sum(abs(number.value) >= small.LIMIT for number in self.numbers)

    def new_tasks(self, *, at: float) -> list[Task]:
        """Return a new task for each number, created at a time by the store's clock.

        Those of a batch are a microsecond apart, which keeps them in order when they are listed.
        """
        return [
            new_task(number.value, number.expression, self.owner, at=at + place * 1e-6)
            for place, number in enumerate(self.numbers)
        ]

    def keyed(self, tasks: Sequence[Task], *, at: float) -> KeyedRequest | None:
        """Return the request to be stored before the tasks that it makes, or None if it has no key."""
        if self.idempotency_key is None:
            return None
        return KeyedRequest(
            request_id=request_id_of(
                self.owner, self.idempotency_key, batch=self.positions is not None
            ),
            digest=digest_of_numbers(
                [number.value for number in self.numbers],
                (0,) if self.positions is None else self.positions,
            ),
            task_ids=tuple(task.task_id for task in tasks),
            made_at=at,
        )

    @property
    def keys_of_0_1(self) -> list[str]:
        """The keys that version 0.1 stored in the tasks of this request, in order."""
        if self.idempotency_key is None:
            return []
        if self.positions is None:
            return [self.idempotency_key]
        return [f"{self.idempotency_key} #{position}" for position in self.positions]


def new_task(number: int, expression: str, owner: str, *, at: float) -> Task:
    """Return a new task; one for a small number (`common.domain.small`) has ended already."""
    answered = abs(number) < small.LIMIT
    return Task(
        task_id=new_task_id(),
        owner=owner,
        number=BigInt(number),
        expression=expression,
        created_at=at,
        joined=answered,
        ended=Ending(status=Status.SUCCEEDED, at=at) if answered else None,
    )


def aim(task: Task, known: Factorization | None) -> Task:
    """Return the new task with the round that will end it; it has ended if the answer is known.

    Args:
        task: A task that is not in the store yet.
        known: What is known of its number.

    """
    if known is None or known.ended is None:
        return replace(task, round=known.round if known else 1)
    if known.may_resume:
        return replace(task, round=known.round + 1)
    ending = replace(known.ended, at=task.created_at)
    return replace(task, round=known.round, joined=True, ended=ending)


class Lifecycle:
    """The steps of a task's life, over one store and one broker."""

    def __init__(self, store: Store, broker: Broker) -> None:
        self._store = store
        self._broker = broker
        self._announcer = Announcer(broker)
        self._places = Places(store)
        self.quotas = Quotas(store)

    async def accept(self, submission: Submission) -> list[Task]:
        """Store a task for each number; return the tasks as they are stored, in order.

        A request that was made before gets the tasks of that time. As many tasks are joined as their
        owner has places for; what could not be joined before the submission expires, or because the
        store went away, is joined later.

        Raises:
            errors.KeyReused: The key was used before for another request. Nothing was inserted.
            errors.StoreUnavailable: Perhaps nothing was accepted; the same call can be repeated.

        """
        new = submission.new_tasks(at=self._store.now())
        new, free, aimed = await asyncio.gather(
            self._with_ids_of_before(submission, new),
            self._take_places(new),
            gather_limited(self._aimed, new, limit=CONCURRENT_STEPS),
        )
        stored = await self._store.insert_tasks(
            [replace(task, task_id=named.task_id) for task, named in zip(aimed, new, strict=True)]
        )
        failpoints.hit("accept.inserted")
        _log_accepted(stored)
        fresh = [task for task in stored if not task.joined and task.ended is None]
        begun = [task for lane in Lane for task in _of_lane(fresh, lane)[: free[lane]]]
        with contextlib.suppress(TimeoutError, errors.StoreUnavailable):
            async with asyncio.timeout_at(submission.expires_at):
                await gather_limited(self.join, begun, limit=CONCURRENT_STEPS)
        return stored

    async def _with_ids_of_before(self, submission: Submission, new: list[Task]) -> list[Task]:
        """Return new tasks with the ids that an earlier attempt of the same request gave to them."""
        request = submission.keyed(new, at=self._store.now())
        if request is None:
            return new
        older = await self._made_by_0_1(submission, new)
        stored = await self._store.insert_request(request)
        if stored.digest != request.digest:
            raise errors.KeyReused
        return [
            replace(task, task_id=older[place].task_id if place in older else task_id)
            for place, (task, task_id) in enumerate(zip(new, stored.task_ids, strict=True))
        ]

    async def _made_by_0_1(self, submission: Submission, new: Sequence[Task]) -> dict[int, Task]:
        """Return the tasks that a gateway of version 0.1 made of a request, by their places in it."""
        keys = submission.keys_of_0_1
        found = await self._store.list_keyed(submission.owner, keys)
        by_key = {task.idempotency_key: task for task in found}
        older = {place: by_key[key] for place, key in enumerate(keys) if key in by_key}
        if any(new[place].number != task.number for place, task in older.items()):
            raise errors.KeyReused
        return older

    async def accepted_before(self, submission: Submission) -> list[Task] | None:
        """Return the tasks of an earlier attempt of the same request, or None unless it made them all.

        Its answer was lost, and the tasks that it made may be what fills the owner's limit now.

        Raises:
            errors.KeyReused: The key was used before for another request.
            errors.StoreUnavailable: The store does not answer.

        """
        new = submission.new_tasks(at=self._store.now())
        request = submission.keyed(new, at=self._store.now())
        if request is None:
            return None
        older = await self._made_by_0_1(submission, new)
        if len(older) == len(new):
            return list(older.values())
        stored = await self._store.get_request(request.request_id)
        if stored is None:
            return None
        if stored.digest != request.digest:
            raise errors.KeyReused
        found = {task.task_id: task for task in await self._store.get_tasks(stored.task_ids)}
        made = [found[task_id] for task_id in stored.task_ids if task_id in found]
        return made if len(made) == len(new) else None

    async def _aimed(self, task: Task) -> Task:
        return task if task.ended else aim(task, await self._store.get_factorization(task.key))

    async def _take_places(self, tasks: Sequence[Task]) -> dict[Lane, int]:
        """Return how many of the tasks may be joined now, by lane."""
        wanted = {lane: _of_lane(tasks, lane) for lane in Lane}
        return {
            lane: await self._places.take(some[0].owner, lane, len(some)) if some else 0
            for lane, some in wanted.items()
        }

    async def join(self, task: Task) -> Factorization:
        """Make sure that a stored live task's factorization exists and is wanted; publish its outbox."""
        known = await self._claim(
            factorizations.begin(task.key, self._store.now()),
            resume=lambda known: task.round > known.round,
        )
        failpoints.hit("join.published")
        await self.end_live_tasks(known)  # it may have ended between this task's aim and its insert
        await self._store.mark_joined([task.task_id])
        return known

    async def claim_parts(
        self, known: Factorization, numbers: Iterable[int], *, begin: bool
    ) -> list[Factorization]:
        """Make sure that parts that a factorization waits for exist and are worked on; return theirs.

        Args:
            known: The version in the store.
            numbers: Which of the parts.
            begin: Whether it begins to wait for them: then each gets a new version, so that nobody rests
                it meanwhile, and work that ended because of faults begins again.

        """
        wanted, now = {key_of(number) for number in numbers}, self._store.now()
        return [
            await self._claim(
                factorizations.begin(part.value, now, part=part),
                begin=begin,
                resume=lambda _known: begin,
            )
            for part in known.parts
            if key_of(part.value) in wanted
        ]

    async def _claim(
        self,
        created: Factorization,
        *,
        begin: bool = True,
        resume: Callable[[Factorization], bool],
    ) -> Factorization:
        """Create or wake a factorization and those that it waits for; publish their outboxes."""
        known = None if begin else await self._store.get_factorization(created.number)
        known = known or await self._store.create_factorization(created)
        woken = False
        while known != created:
            successor = known.claimed(self._store.now(), resume=resume(known))
            if successor is known or (known.active and not begin):
                return known
            woken = not known.active
            await self.end_live_tasks(known)
            if await self._store.swap_factorization(successor):
                known = successor
                break
            known = await self.require(created.number)
        await self.publish_outbox(known)
        if woken:
            await self.claim_parts(known, known.waits_for, begin=True)
        return known

    async def require(self, number: int) -> Factorization:
        """Return a factorization that must be there: factorizations are never deleted.

        Raises:
            LookupError: It is not there.

        """
        known = await self._store.get_factorization(number)
        if known is None:
            raise LookupError(
                f"the factorization of {shortened(number)} has vanished from the store"
            )
        return known

    async def publish_outbox(self, known: Factorization, *, left_before: float = math.inf) -> bool:
        """Publish the units in the outbox and clear it; return False if the broker is down.

        Whoever has just written this version leaves the units of earlier versions to those who wrote
        them, unless they were issued before ``left_before`` (seconds since the epoch).
        """
        units = known.units_in_outbox(left_before=left_before)
        if not units:
            return True
        try:
            await self._broker.publish(units)
        except errors.BrokerUnavailable:
            return False
        await self._store.clear_outbox(known.number, [unit.unit_id for unit in units])
        return True

    async def read(self, task_id: str, owner: str) -> State:
        """Return an owner's task as `read_current` does.

        Raises:
            errors.UnknownTask: The owner has no such task.

        """
        return await self.read_current(await self._store.get_task(task_id, owner))

    async def read_current(self, task: Task) -> State:
        """Return a task with what is known of its number, its ending written if the work has ended."""
        known = await self.look_up(task.key, at=task.created_at)
        if task.ended is None and known is not None and known.ended and task.round <= known.round:
            task = await self._store.end_task(task.task_id, known.ended)
        return await self._with_rest(task), known

    async def _with_rest(self, task: Task) -> Task:
        """Return a task to be shown: with the time until which it has to wait, if it has."""
        if task.joined or task.ended is not None:
            return task
        return replace(task, rests_until=await self.quotas.owner_rests_until(task.owner))

    async def read_tasks(
        self, key: int, task_ids: Sequence[str]
    ) -> tuple[list[Task], Factorization | None]:
        """Return tasks of one number as `read_current` does, in any order; the number is read once.

        Args:
            key: The key of all of these tasks.
            task_ids: Which tasks. Ids that do not exist are left out.

        """
        tasks = await self._store.get_tasks(task_ids)
        known = await self.look_up(key, at=tasks[0].created_at if tasks else 0.0)
        if known is None or known.ended is None:
            return [await self._with_rest(task) for task in tasks], known
        if any(task.ended is None and task.round <= known.round for task in tasks):
            await self.end_live_tasks(known)
            tasks = await self._store.get_tasks(task_ids)
        return tasks, known

    async def look_up(self, key: int, *, at: float) -> Factorization | None:
        """Return what is known of a number >= 0, to be shown: what it waits for is part of it.

        A small number is factored here, as if at that time.
        """
        if key < SMALLEST_FACTORABLE:
            return None
        if key < small.LIMIT:
            return small.factorization(key, at)
        known = await self._store.get_factorization(key)
        if known is None or not known.waits_for:
            return known
        get = self._store.get_factorization
        awaited = await gather_limited(get, known.waits_for, limit=CONCURRENT_STEPS)
        return known.shown_with([part for part in awaited if part is not None])

    async def end_live_tasks(self, known: Factorization) -> None:
        """Write the ending of an ended factorization into every task that waited for it."""
        if known.ended is not None:
            await self._store.end_tasks(known.number, up_to_round=known.round, ending=known.ended)

    async def cancel(self, task: Task) -> Task:
        """End the task as cancelled unless it has ended; rest its number if nobody else wants it.

        The factorization gets a new version in either case, so that every gateway hears of it.
        """
        task, known = await self.read_current(task)
        if task.ended is not None:
            return task
        ending = Ending(
            status=Status.CANCELLED, at=self._store.now(), reason="cancelled on request"
        )
        task = await self._store.end_task(task.task_id, ending)
        told = known is not None and await self.release(task.key, touch=True)
        if not told:  # the task had not joined yet
            await self._announcer.tell(Event(number=task.key, version=0, urgent=True))
        return task

    async def release(self, number: int, *, touch: bool = False) -> bool:
        """Rest a factorization that nobody wants, and then what it waited for, if nobody else does.

        Returns whether gateways were told of a new version.

        Args:
            number: Its key.
            touch: Whether it gets a new version, of which gateways hear, although somebody wants it.

        """
        known = await self._store.get_factorization(number)
        while known is not None and known.active:
            wanted = await self._store.is_wanted(number)
            if wanted and not touch:
                return False
            after = known.touched(self._store.now()) if wanted else known.rested(self._store.now())
            if await self._store.swap_factorization(after):
                await self.tell(after, urgent=True)
                if not wanted:
                    await self.tell_workers(number)
                    for part in known.waits_for:
                        await self.release(part)
                return True
            known = await self.require(number)
        return False

    async def tell(self, known: Factorization, *, urgent: bool = False) -> None:
        """Tell every gateway the version of a factorization; within a second, unless it is urgent."""
        urgent = urgent or known.ended is not None
        event = Event(number=known.number, version=known.version, urgent=urgent)
        await self._announcer.tell(event)

    async def tell_workers(self, number: int) -> None:
        """Ask the workers to stop those of a number's units that are no longer outstanding.

        If the broker is down, they run to their end, and their outcomes are ignored.
        """
        with contextlib.suppress(errors.BrokerUnavailable):
            await self._broker.control(Control(number=BigInt(number)))


def _log_accepted(stored: Sequence[Task]) -> None:
    if len(stored) > 1:
        log.info("Tasks accepted", count=len(stored))
    level = logging.DEBUG if len(stored) > 1 else logging.INFO  # a batch may have 100 000
    for task in stored:
        log.log(level, "Task accepted", task_id=task.task_id, **about(task.number))


def _of_lane(tasks: Sequence[Task], lane: Lane) -> list[Task]:
    return [task for task in tasks if task.ended is None and task.lane is lane]
