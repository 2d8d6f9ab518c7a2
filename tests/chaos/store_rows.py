"""Rows about MongoDB and the link to it."""

import asyncio

from common.domain import digest_of
from common.lifecycle import new_task
from tests import waiting
from tests.chaos.checker import Told
from tests.chaos.laboratory import OWNER, Laboratory
from tests.chaos.row import row
from tests.proxy import Way

NEARLY = 0.7
"""With this share of the relations gone, what is left is worth too little for the sieve to go on."""


async def _refused(lab: Laboratory) -> None:
    """Return when a client has been told that the store is down."""
    await waiting.until(lambda: lab.refusals > 0, "a 503", seconds=20)


@row("store kill -9 and started again")
async def killed(lab: Laboratory) -> None:
    """Clients hear of it within 3 seconds, and nothing that was acknowledged is gone."""
    lab.stack.mongo.kill()
    await _refused(lab)
    await lab.stack.mongo.start()


@row("store stalled 4 s", short=True)
async def stalled(lab: Laboratory) -> None:
    """Every call times out, in gateways and in workers that have an outcome in their hands."""
    lab.mongo.stall()
    await _refused(lab)
    await asyncio.sleep(1)
    assert lab.mongo.held_bytes
    lab.mongo.heal()


async def _down_at_completion(lab: Laboratory, seconds: float) -> None:
    """Numbers are in the workers' hands when the store goes."""
    await asyncio.gather(*(lab.post(number=lab.number(56)) for _ in range(4)))
    lab.mongo.stall()
    lab.mongo.cut()
    await asyncio.sleep(seconds)
    await _refused(lab)
    lab.mongo.heal()


@row("store down 30 s at completion", traffic=1)
async def down(lab: Laboratory) -> None:
    """Outcomes wait in the workers' hands."""
    await _down_at_completion(lab, 30)


@row("store down 10 min at completion", traffic=0.2, soak=False)
async def long_down(lab: Laboratory) -> None:
    """Nobody gives up."""
    await _down_at_completion(lab, 600)


@row("store slow by 2 s for 20 s", traffic=0.5)
async def slow(lab: Laboratory) -> None:
    """Each call takes two seconds, and nothing times out."""
    lab.mongo.delay_seconds = 1.0
    await asyncio.sleep(20)
    lab.mongo.heal()


@row("unknown outcome of writes to the store", short=True, traffic=20)
async def unknown_outcome(lab: Laboratory) -> None:
    """The store does what it was asked, and its answers are cut off: twelve times, anywhere."""
    for turn in range(12):
        await _cut_once(lab, 400 + 977 * turn % 3000)


async def _cut_once(lab: Laboratory, after: int) -> None:
    before = lab.mongo.held_bytes
    lab.mongo.cut_after(Way.BACK, after)
    await waiting.until(lambda: lab.mongo.held_bytes > before, "a cut")


@row("store restored without relations in the middle of a sieve", recovery_seconds=120)
async def without_relations(lab: Laboratory) -> None:
    """The sieve begins anew, once, and says so; the number gets its right answer.

    The recovery includes the time that a number of 70 digits takes.
    """
    number = lab.number(70)
    await lab.post(number=number)

    async def nearly_enough() -> bool:
        known = await lab.store.get_factorization(number)
        part = known.own_part if known else None
        return bool(part and part.sieve and part.sieve.usable > NEARLY * part.sieve.needed)

    await waiting.until(nearly_enough, "most of the relations", seconds=120)
    await lab.store.delete_batches(number)

    def said() -> bool:
        lines = (line for worker in lab.stack.workers for line in worker.log.open())
        return any("Sieve begins anew" in line and digest_of(number) in line for line in lines)

    await waiting.until(said, "the log to say that the sieve begins anew", seconds=60)


async def _orphans(lab: Laboratory, count: int) -> None:
    """Tasks whose gateway died right after the insert, all at once, and two sweepers."""
    places = asyncio.Semaphore(50)

    async def orphan() -> None:
        attempt = lab.journal.attempt(lab.number())
        task = new_task(attempt.number, str(attempt.number), OWNER, at=lab.store.now())
        async with places:
            await lab.store.insert_tasks([task])
        attempt.told, attempt.task_id = Told.ACCEPTED, task.task_id

    await asyncio.gather(*(orphan() for _ in range(count)))
    await lab.at_rest(seconds=max(30, count / 5))


@row("two sweepers, 100 orphans", traffic=0)
async def orphans(lab: Laboratory) -> None:
    """Both join them, and nothing is doubled."""
    await _orphans(lab, 100)


@row(
    "two sweepers, 5 000 orphans",
    traffic=0,
    soak=False,
    not_here="the MongoDB-wire server that stands in for MongoDB here sorts all tasks that wait whenever one "
    "looks for the oldest: 1 560 had ended after 16 minutes, none lost. The row of 100 is the same code",
)
async def many_orphans(lab: Laboratory) -> None:
    """The same with a gateway that had been dead for a while."""
    await _orphans(lab, 5000)
