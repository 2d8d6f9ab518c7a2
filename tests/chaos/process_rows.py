"""Rows about our own processes: workers, their children, gateways."""

import asyncio
import contextlib
import functools
import signal
import time
from collections.abc import AsyncIterator

from common.domain import HEARTBEAT_SECONDS, WorkerStatus
from common.runtime.failpoints import Action
from infra.local.processes import Process
from tests import waiting
from tests.chaos.laboratory import Laboratory
from tests.chaos.row import row

WORKER_POINTS = {
    "at receive": ("worker.received", Action.KILL),
    "mid-unit": ("child.unit", Action.KILL_PARENT),
    "after swap": ("worker.swapped", Action.KILL),
    "after publish": ("worker.published", Action.KILL),
    "before ack": ("worker.settled", Action.KILL),
}
GATEWAY_POINTS = {
    "at insert": "accept.inserted",
    "after publish": "join.published",
    "before reply": "submit.reply",
}


async def _at_point(lab: Laboratory, *, point: str, action: Action) -> None:
    lab.points.arm(point, action)
    await lab.points.all_fired()


for _where, (_point, _action) in WORKER_POINTS.items():
    row(f"kill -9 of a worker {_where}", short=True)(
        functools.partial(_at_point, point=_point, action=_action)
    )
for _where, _point in GATEWAY_POINTS.items():
    row(f"kill -9 of a gateway {_where}", short=True)(
        functools.partial(_at_point, point=_point, action=Action.KILL)
    )


@row("kill -9 of a worker before numbers that wait for a composite are told", short=True)
async def killed_before_passing_on(lab: Laboratory) -> None:
    """Three multiples of a composite end as it does, although whoever split it did not live to tell them."""
    hard = lab.number(50)
    lab.points.arm("worker.passing-on", Action.KILL, subject=hard)
    await asyncio.gather(*(lab.post(number=factor * hard) for factor in (3, 5, 7)))
    await lab.points.all_fired()


@contextlib.asynccontextmanager
async def _silent_majority(lab: Laboratory) -> AsyncIterator[None]:
    """Have the workers believe that there is a third one with many slots, which never takes a unit.

    So a number has enough units outstanding for its outcomes to be settled together.
    """

    async def beat() -> None:
        while True:
            now = time.time()
            await lab.store.heartbeat(
                WorkerStatus(
                    worker_id="silent",
                    host="nowhere",
                    pid=1,
                    slots=16,
                    running=(),
                    started_at=now,
                    seen_at=now,
                )
            )
            await asyncio.sleep(HEARTBEAT_SECONDS)

    beating = asyncio.create_task(beat())
    try:
        await asyncio.sleep(3 * HEARTBEAT_SECONDS)  # the keeper lists it, and the others read that
        yield
    finally:
        beating.cancel()
        await lab.store.remove_worker("silent")


@row("kill -9 of a worker between insert of an outcome and settling", recovery_seconds=60)
async def killed_before_settling(lab: Laboratory) -> None:
    """The unit is acknowledged, so that nobody gets it again: its outcome is settled by the other worker.

    The recovery includes the time that a number of 64 digits takes.
    """
    number = lab.number(64)
    async with _silent_majority(lab):
        lab.points.arm("worker.settling", Action.KILL, subject=number)
        await lab.post(number=number)
        await lab.points.all_fired(60)


@row("kill -9 of a child in its unit", short=True)
async def child_killed(lab: Laboratory) -> None:
    """The unit counts a crash and is tried again."""
    await _at_point(lab, point="child.unit", action=Action.KILL)


async def _poison(lab: Laboratory, *, action: Action, times: int) -> None:
    """Have every attempt at one number meet the fault; its neighbours must not feel it.

    The first attempt may meet it twice: in a group with other short units, and then alone.
    """
    number = lab.number()
    lab.points.arm("child.unit", action, subject=number, times=times + 1)
    poisoned = await lab.post(number=number, expected={"failed"})
    await waiting.until(
        lambda: poisoned.task_id in lab.follower.done, "the end of the poisoned number", seconds=120
    )
    assert lab.points.disarm() <= 1, "an attempt was spared"


POISONS = {
    "segfault": (Action.SEGFAULT, 3),
    "memory": (Action.MEMORY, 2),
    "endless": (Action.ENDLESS, 2),
    "ignoring SIGTERM": (Action.DEAF, 2),
    "stopped": (Action.STOP, 2),
}
for _what, (_action, _times) in POISONS.items():
    row(f"poison unit: {_what}", short=_what == "segfault")(
        functools.partial(_poison, action=_action, times=_times)
    )


@row("wrong answer from an engine", short=True)
async def wrong_answer(lab: Laboratory) -> None:
    """It is refused, and the second attempt is right."""
    number = lab.number()
    lab.points.arm("engine.answer", Action.LIE, subject=number)
    await lab.post(number=number)
    await lab.points.all_fired()


@row("worker frozen 60 s and thawed", traffic=2)
async def worker_frozen(lab: Laboratory) -> None:
    """The other one goes on; what the frozen one held counts once."""
    worker = lab.stack.workers[0]
    worker.signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(60)
    finally:
        worker.signal(signal.SIGCONT)
    assert worker.running


async def _asked_to_stop(program: Process, *, times: int = 1) -> None:
    pid = program.pid
    for _ in range(times):
        program.signal(signal.SIGTERM)
    await waiting.until(
        lambda: program.pid != pid or not program.running, "the program's end", seconds=30
    )
    await program.start()


async def _busy(lab: Laboratory) -> None:
    """Give every slot something to do for a second or two."""
    await asyncio.gather(*(lab.post(number=lab.number(56)) for _ in range(4)))


@row("SIGTERM of a busy worker")
async def worker_stopped(lab: Laboratory) -> None:
    """It ends its units or gives them back."""
    await _busy(lab)
    await _asked_to_stop(lab.stack.workers[0])


@row("SIGTERM of a busy worker, twice")
async def worker_stopped_twice(lab: Laboratory) -> None:
    """The second one ends it at once."""
    await _busy(lab)
    await _asked_to_stop(lab.stack.workers[0], times=2)


@row("SIGTERM of workers and gateways in turn, every 30 s for 10 minutes", soak=False)
async def stopped_again_and_again(lab: Laboratory) -> None:
    """As a nervous deployment would."""
    programs = [*lab.stack.workers, *lab.stack.gateways]
    for turn in range(20):
        await _asked_to_stop(programs[turn % len(programs)])
        await asyncio.sleep(25)


@row("gateway frozen 5 s and thawed")
async def gateway_frozen(lab: Laboratory) -> None:
    """The balancer sends everybody to the other one."""
    gateway = lab.stack.gateways[0]
    gateway.signal(signal.SIGSTOP)
    await asyncio.sleep(5)
    gateway.signal(signal.SIGCONT)
