"""Answers the calls about tasks and numbers; each handler reads, asks `common.lifecycle`, shows."""

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence

import msgspec
from aiohttp import web

from common import errors
from common.domain import Task
from common.lifecycle import State, Submission
from common.numbers import NumberError, ParsedNumber, parse
from common.runtime import failpoints
from common.runtime.concurrency import gather_limited
from gateway import metrics
from gateway.access.doorkeeper import IDENTITY, owner_of
from gateway.access.limits import LIMITER, tell
from gateway.context import HUB, LIFECYCLE, SETTINGS, STORE
from gateway.http import bodies, deadline, parameters
from gateway.views import models, problems, representation

CONCURRENT_READS = 16
POLL_SECONDS = "1"

_ENCODER = msgspec.json.Encoder()


def answer(
    model: msgspec.Struct, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return a JSON response that no cache may keep without asking."""
    return web.Response(
        body=_ENCODER.encode(model),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-cache", **(headers or {})},
    )


def _answer_task(
    shown: models.TaskView, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    more = {"ETag": f'"{shown.version}"', **(headers or {})}
    if not shown.done:
        more["Retry-After"] = POLL_SECONDS
    return answer(shown, status=status, headers=more)


async def submit(request: web.Request) -> web.Response:
    """Accept a number; with ``Prefer: wait=N`` stay up to N seconds for its answer."""
    settings, key = request.app[SETTINGS], parameters.idempotency_key(request)
    document = await bodies.read_object(request)
    if "number" not in document:
        raise problems.BadRequest('The object has no member "number".')
    submission = Submission(
        owner=owner_of(request),
        numbers=(bodies.parse_number(document["number"], settings.max_digits),),
        idempotency_keys=() if key is None else (key,),
        wait_seconds=parameters.preferred_wait(request),
        expires_at=deadline.end_of(request),
    )
    [stored] = await _accept(request, submission)
    headers = {"Location": f"/tasks/{stored.task_id}"}
    seconds = submission.wait_seconds
    failpoints.hit("submit.reply")
    if seconds:
        headers["Preference-Applied"] = f"wait={seconds:.0f}"
    shown = representation.view(*await _state(request, stored, submission))
    return _answer_task(shown, status=200 if seconds and shown.done else 202, headers=headers)


async def _state(request: web.Request, task: Task, submission: Submission) -> State:
    """Return the state of a task that was just accepted, after the client's wait unless it is done.

    That it is accepted is what the client has to hear, should the store have no more to tell in time.
    """
    with contextlib.suppress(TimeoutError, errors.StoreUnavailable):
        if submission.wait_seconds:
            with deadline.unhurried(request):
                return await request.app[HUB].wait_done(task, submission.wait_seconds)
        async with asyncio.timeout_at(deadline.end_of(request)):
            return await request.app[LIFECYCLE].read_current(task)
    return task, None


async def _accept(request: web.Request, submission: Submission) -> list[Task]:
    """Accept numbers within the limits of their owner."""
    app = request.app
    reserved = app[LIMITER].submission(
        request[IDENTITY], submission.unanswered, until=submission.expires_at
    )
    try:
        async with reserved as fields:
            tell(request, fields)
            stored = await app[LIFECYCLE].accept(submission)
    except problems.Limited:
        if (before := await app[LIFECYCLE].accepted_before(submission)) is None:
            raise
        return before
    ended = sum(task.ended is not None for task in stored)
    metrics.TASKS.labels("yes").inc(ended)
    metrics.TASKS.labels("no").inc(len(stored) - ended)
    return stored


async def submit_batch(request: web.Request) -> web.Response:
    """Accept many numbers; each gets a task or a problem of its own."""
    settings, key = request.app[SETTINGS], parameters.idempotency_key(request)
    document = await bodies.read_object(request)
    values = document.get("numbers")
    if not isinstance(values, list):
        raise problems.BadRequest('The object has no member "numbers" with an array.')
    if len(values) > settings.max_batch:
        raise problems.BatchTooLarge(count=len(values), limit=settings.max_batch)
    with deadline.unhurried(request):
        return await _submit_all(request, values, key)


async def _submit_all(
    request: web.Request, values: Sequence[object], key: str | None
) -> web.Response:
    parsed: dict[int, ParsedNumber] = {}
    refused: dict[int, models.Problem] = {}
    for index, value in enumerate(values):
        await asyncio.sleep(0)  # a thousand expressions must not hold up everybody else
        try:
            parsed[index] = bodies.parse_number(value, request.app[SETTINGS].max_digits)
        except NumberError as error:
            refused[index] = problems.problem_of(error)
    submission = Submission(
        owner=owner_of(request),
        numbers=tuple(parsed.values()),
        idempotency_keys=() if key is None else tuple(f"{key} #{index}" for index in parsed),
    )
    stored = await _accept(request, submission)
    shown = dict(zip(parsed, await _shown(request, stored), strict=True))
    items = [
        models.BatchItem(index=index, task=shown.get(index), problem=refused.get(index))
        for index in range(len(values))
    ]
    return answer(models.BatchResult(accepted=len(shown), refused=len(refused), items=items))


async def _shown(request: web.Request, tasks: Sequence[Task]) -> list[models.TaskView]:
    """Return the tasks' representations, reading a few at a time."""
    read_current = request.app[LIFECYCLE].read_current
    states = await gather_limited(read_current, tasks, limit=CONCURRENT_READS)
    return [representation.view(*state) for state in states]


async def get_result(request: web.Request) -> web.Response:
    """Answer the seed's own call: the factors in one string, or that it is calculating."""
    task_id, owner = parameters.task_id(request), owner_of(request)
    task, known = await request.app[LIFECYCLE].read(task_id, owner)
    return answer(representation.legacy(task, known))


async def get_task(request: web.Request) -> web.Response:
    """Show a task; ``?wait=`` stays until it is done, or newer than what If-None-Match names."""
    task_id, owner = parameters.task_id(request), owner_of(request)
    seconds, held = parameters.wait(request), parameters.versions_held(request)
    task = await request.app[STORE].get_task(task_id, owner)
    if seconds:
        newest = max(held, default=None)
        with deadline.unhurried(request):
            pair = await request.app[HUB].wait_done(task, seconds, newer_than=newest)
    else:
        pair = await request.app[LIFECYCLE].read_current(task)
    shown = representation.view(*pair)
    if shown.version in held:
        etag = f'"{shown.version}"'
        return web.Response(status=304, headers={"ETag": etag, "Cache-Control": "no-cache"})
    return _answer_task(shown)


async def list_tasks(request: web.Request) -> web.Response:
    """Show the owner's tasks, newest first, a page at a time."""
    store, limit, before = (
        request.app[STORE],
        parameters.limit(request),
        parameters.cursor(request),
    )
    found = await store.list_tasks(owner_of(request), before=before, limit=limit + 1)
    page = found[:limit]
    more = parameters.cursor_after(page[-1]) if len(found) > limit else None
    return answer(models.TaskPage(tasks=await _shown(request, page), next_cursor=more))


async def cancel_task(request: web.Request) -> web.Response:
    """Cancel a task unless it has ended; the answer shows how it ended in fact."""
    lifecycle, task_id = request.app[LIFECYCLE], parameters.task_id(request)
    task = await request.app[STORE].get_task(task_id, owner_of(request))
    task = await lifecycle.cancel(task)
    return _answer_task(representation.view(*await lifecycle.read_current(task)))


async def get_number(request: web.Request) -> web.Response:
    """Show what is known of a number, or of the value of an expression."""
    parsed = parse(request.match_info["number"], max_digits=request.app[SETTINGS].max_digits)
    known = await request.app[LIFECYCLE].look_up(abs(parsed.value), at=time.time())
    return answer(representation.number_view(parsed.value, known))
