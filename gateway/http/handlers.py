"""Answers the calls about tasks and numbers.

Each handler reads its request into values, acts on them through `common.lifecycle`, and shows the result.
What a handler calls to act takes values and never the request.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from aiohttp import web

from common import errors
from common.domain import Status, Task
from common.lifecycle import Lifecycle, State, Submission
from common.numbers import Effort, NumberError, ParsedNumber, parse
from common.runtime import audit, failpoints
from common.runtime.concurrency import gather_limited
from gateway import metrics
from gateway.access import Identity, Limiter
from gateway.context import DOORKEEPER, HUB, IDENTITY, LIFECYCLE, LIMITER, SETTINGS, STORE
from gateway.http import bodies, parameters, responses
from gateway.http.connections import while_connected
from gateway.http.deadline import DEADLINE, Deadline
from gateway.hub import Hub
from gateway.views import models, problems, representation

CONCURRENT_READS = 16
MOST_EFFORT = 100.0
"""What the expressions of a batch may cost together: a tenth of a second for numbers of 1000 digits."""
NUMBERS_A_REQUEST = 100
"""A batch counts as a request for each so many numbers, and for each unit of its expressions' `Effort`."""
ERASED_AT_ONCE = 1000
MOST_ERASED = 50_000
"""How many tasks one request erases, so that it takes seconds and not minutes."""


async def submit(request: web.Request) -> web.Response:
    """Accept a number. With ``Prefer: wait=N``, wait up to N seconds for its factors."""
    app, identity, deadline = request.app, request[IDENTITY], request[DEADLINE]
    submission = await _read_submission(request)
    accepted = await _accept(submission, identity, app[LIMITER], app[LIFECYCLE])
    responses.add_fields(request, accepted.fields)
    failpoints.hit("submit.reply")
    [task] = accepted.tasks
    asked = submission.wait_seconds
    with app[LIMITER].waiting(identity, asked) as seconds:
        async with while_connected(request), app[DOORKEEPER].while_valid(identity):
            state = await _outcome(task, seconds, deadline, app[HUB], app[LIFECYCLE])
    shown = representation.view(*state)
    headers = {"Location": shown.links.self_}
    if seconds:
        headers["Preference-Applied"] = f"wait={seconds:.0f}"
    status = 200 if asked and shown.done else 202
    return responses.of_task(shown, status=status, headers=headers)


async def _read_submission(request: web.Request) -> Submission:
    key = parameters.idempotency_key(request.headers)
    number = await bodies.read_number(request, max_digits=request.app[SETTINGS].max_digits)
    return Submission(
        owner=request[IDENTITY].owner,
        numbers=(number,),
        idempotency_key=key,
        wait_seconds=parameters.preferred_wait(request.headers.getall("Prefer", ())),
        expires_at=request[DEADLINE].expires_at,
    )


class _Accepted(NamedTuple):
    tasks: list[Task]
    fields: Mapping[str, str]
    """Header fields that tell the owner what is left of its limits."""


async def _accept(
    submission: Submission, identity: Identity, limiter: Limiter, lifecycle: Lifecycle
) -> _Accepted:
    """Accept a submission within the limits of its owner.

    An owner that is at its limit gets the tasks of an earlier attempt of the same request, if there was
    one: they may be what fills the limit.
    """
    count, until = submission.unanswered, submission.expires_at
    try:
        async with limiter.submission(identity, count, until=until) as fields:
            tasks = await lifecycle.accept(submission)
    except problems.Limited:
        earlier = await lifecycle.accepted_before(submission)
        if earlier is None:
            raise
        return _Accepted(earlier, {})
    ended = sum(task.ended is not None for task in tasks)
    metrics.TASKS.labels("yes").inc(ended)
    metrics.TASKS.labels("no").inc(len(tasks) - ended)
    return _Accepted(tasks, fields)


async def _outcome(
    task: Task, seconds: float, deadline: Deadline, hub: Hub, lifecycle: Lifecycle
) -> State:
    """Return the state of a task that was just accepted, after waiting so many seconds for its end.

    The client must learn that its task is accepted, so a store that stops answering now is no error.
    """
    with contextlib.suppress(TimeoutError, errors.StoreUnavailable):
        if seconds:
            with deadline.paused():
                return await hub.wait_done(task, seconds)
        async with asyncio.timeout_at(deadline.expires_at):
            return await lifecycle.read_current(task)
    return task, None


async def submit_batch(request: web.Request) -> web.Response:
    """Accept many numbers. Each gets a task or a problem of its own."""
    app, identity = request.app, request[IDENTITY]
    settings, lifecycle = app[SETTINGS], app[LIFECYCLE]
    key = parameters.idempotency_key(request.headers)
    values = await bodies.read_batch(request, max_numbers=settings.max_batch)
    with request[DEADLINE].paused():
        effort = Effort()
        try:
            parsed, refused = await _parse_all(values, settings.max_digits, effort)
        finally:
            more = len(values) // NUMBERS_A_REQUEST + int(effort.spent)
            app[LIMITER].charge(identity, more)
        submission = Submission(
            owner=identity.owner,
            numbers=tuple(parsed.values()),
            idempotency_key=key,
            positions=tuple(parsed),
        )
        accepted = await _accept(submission, identity, app[LIMITER], lifecycle)
        responses.add_fields(request, accepted.fields)
        views = await _views(accepted.tasks, lifecycle)
    shown = dict(zip(parsed, views, strict=True))
    items = [
        models.BatchItem(index=index, task=shown.get(index), problem=refused.get(index))
        for index in range(len(values))
    ]
    return responses.of_model(
        models.BatchResult(accepted=len(shown), refused=len(refused), items=items)
    )


async def _parse_all(
    values: Sequence[object], max_digits: int, effort: Effort
) -> tuple[dict[int, ParsedNumber], dict[int, models.Problem]]:
    """Return the numbers, and the problems of what is not a number, by position in the batch.

    Raises:
        problems.BatchTooLarge: The expressions take too much work together.

    """
    parsed: dict[int, ParsedNumber] = {}
    refused: dict[int, models.Problem] = {}
    for index, value in enumerate(values):
        await asyncio.sleep(0)  # a thousand expressions must not hold up other requests
        try:
            parsed[index] = bodies.parse_number(value, max_digits, effort=effort)
        except NumberError as error:
            refused[index] = problems.problem_of(error)
        if effort.spent > MOST_EFFORT:
            raise problems.BatchTooLarge("The expressions of this batch take too much work")
    return parsed, refused


async def _views(tasks: Sequence[Task], lifecycle: Lifecycle) -> list[models.TaskView]:
    states = await gather_limited(lifecycle.read_current, tasks, limit=CONCURRENT_READS)
    return [representation.view(*state) for state in states]


async def get_result(request: web.Request) -> web.Response:
    """Return the factors of a task in one string, or ``Calculating...``."""
    task_id = parameters.task_id(request.match_info)
    task, known = await request.app[LIFECYCLE].read(task_id, request[IDENTITY].owner)
    return responses.of_model(representation.legacy(task, known))


async def get_task(request: web.Request) -> web.Response:
    """Show a task. ``?wait=`` waits until it is done, or newer than the version in If-None-Match."""
    app, task_id = request.app, parameters.task_id(request.match_info)
    asked = parameters.wait(request.query)
    held = parameters.versions_held(request.if_none_match)
    task = await app[STORE].get_task(task_id, request[IDENTITY].owner)
    with app[LIMITER].waiting(request[IDENTITY], asked) as seconds:
        if seconds:
            async with while_connected(request), app[DOORKEEPER].while_valid(request[IDENTITY]):
                with request[DEADLINE].paused():
                    newest = max(held, default=None)
                    state = await app[HUB].wait_done(task, seconds, newer_than=newest)
        else:
            state = await app[LIFECYCLE].read_current(task)
    shown = representation.view(*state)
    unchanged = shown.version in held and shown.waiting is None
    return responses.not_modified(shown) if unchanged else responses.of_task(shown)


async def list_tasks(request: web.Request) -> web.Response:
    """Show the owner's tasks, newest first, one page at a time."""
    app, limit = request.app, parameters.limit(request.query)
    before = parameters.cursor(request.query)
    found = await app[STORE].list_tasks(request[IDENTITY].owner, before=before, limit=limit + 1)
    page = found[:limit]
    next_cursor = parameters.cursor_after(page[-1]) if len(found) > limit else None
    tasks = await _views(page, app[LIFECYCLE])
    return responses.of_model(models.TaskPage(tasks=tasks, next_cursor=next_cursor))


async def cancel_task(request: web.Request) -> web.Response:
    """Cancel a task unless it has ended already; the answer shows how it ended.

    With ``?erase=true`` a task that has ended is erased, and the answer is empty.
    """
    app, task_id, identity = request.app, parameters.task_id(request.match_info), request[IDENTITY]
    erase = parameters.erase(request.query)
    before = await app[STORE].get_task(task_id, identity.owner)
    if erase:
        if before.ended is None:
            raise problems.TaskInProgress
        await app[STORE].erase_tasks(before.owner, [task_id], limit=1)
        _record("Task erased", identity, task_id=task_id)
        return web.Response(status=204)
    task = await app[LIFECYCLE].cancel(before)
    if before.ended is None and task.ended and task.ended.status is Status.CANCELLED:
        _record("Task cancelled", identity, task_id=task_id)
    return responses.of_task(representation.view(*await app[LIFECYCLE].read_current(task)))


async def erase_tasks(request: web.Request) -> web.Response:
    """Erase the owner's tasks that have ended. What is known of their numbers stays."""
    store, identity = request.app[STORE], request[IDENTITY]
    erased = count = 0
    with request[DEADLINE].paused():
        for _ in range(MOST_ERASED // ERASED_AT_ONCE):
            count = await store.erase_tasks(identity.owner, limit=ERASED_AT_ONCE)
            erased += count
            if count < ERASED_AT_ONCE:
                break
    _record("Tasks erased", identity, count=erased)
    return responses.of_model(models.Erased(erased=erased, more=count == ERASED_AT_ONCE))


def _record(sentence: str, identity: Identity, **facts: object) -> None:
    """Write into the audit log what a client has done."""
    key_id = identity.key.key_id if identity.key else ""
    audit.record(sentence, owner=identity.owner, key_id=key_id, address=identity.address, **facts)


async def get_number(request: web.Request) -> web.Response:
    """Show what is known of a number, or of the value of an expression."""
    parsed = parse(request.match_info["number"], max_digits=request.app[SETTINGS].max_digits)
    known = await request.app[LIFECYCLE].look_up(abs(parsed.value), at=request.app[STORE].now())
    return responses.of_model(representation.number_view(parsed.value, known))
