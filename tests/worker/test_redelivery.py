"""A broker that gives units to somebody else while they are in hand, as RabbitMQ does after half an hour."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from common import errors
from common.broker import Delivery, Queue
from common.broker.memory import MemoryBroker
from common.domain import Factorization
from common.lifecycle import Lifecycle, Submission
from common.numbers import ParsedNumber
from common.store.sqlite import SqliteStore
from factor_worker.consumer import Consumer
from factor_worker.slots.pool import Pool
from tests import waiting
from tests.worker.workers import settlement

if TYPE_CHECKING:
    from collections.abc import Mapping

P, Q = 10**24 + 7, 10**21 + 117
NUMBER = P * Q


class StoreThatGoesAway(SqliteStore):
    """A store that can be down for whoever settles."""

    down = False
    refused = 0

    async def swap_factorization(self, new: Factorization) -> bool:
        """Refuse while it is down."""
        if self.down:
            self.refused += 1
            raise errors.StoreUnavailable("it is down")
        return await super().swap_factorization(new)


class Held:
    """A delivery that remembers what became of it."""

    def __init__(self, body: bytes, *, redelivered: bool) -> None:
        self.body = body
        self.headers: Mapping[str, str] = {}
        self.reason: str | None = None
        self.redelivered = redelivered
        self.verbs: list[str] = []

    async def ack(self) -> None:
        """Note it."""
        self.verbs.append("ack")

    async def requeue(self) -> None:
        """Note it."""
        self.verbs.append("requeue")

    async def reject(self) -> None:
        """Note it."""
        self.verbs.append("reject")


async def test_units_in_hand_are_delivered_again_without_harm(
    memory_broker: MemoryBroker, pool: Pool, tmp_path: Path
) -> None:
    """The store is down when a unit has been computed, and the broker has lost patience meanwhile.

    Each unit is then in hand twice, and both are settled once the store is back, in whatever order.
    """
    store = StoreThatGoesAway(tmp_path / "x.sqlite3")
    await store.open()
    consumer = Consumer(store, settlement(store, memory_broker), worker_id="w")
    held: list[Held] = []

    async def handle_twice(delivery: Delivery) -> None:
        store.down, refused = True, store.refused
        both = [Held(delivery.body, redelivered=again) for again in (False, True)]
        held.extend(both)
        handling = asyncio.gather(*(consumer.handle(pool, one) for one in both))
        await waiting.until(lambda: store.refused >= refused + 2, "two outcomes to be settled")
        store.down = False
        await handling
        await delivery.ack()

    typed = (ParsedNumber(NUMBER, str(NUMBER)),)
    lifecycle = Lifecycle(store, memory_broker)
    [task] = await lifecycle.accept(Submission(owner="somebody", numbers=typed))
    for queue in (Queue.SURVEY, Queue.WORK):
        await memory_broker.consume(queue, handle_twice, prefetch=1)

    async def ended() -> bool:
        known = await store.get_factorization(NUMBER)
        return known is not None and known.ended is not None

    await waiting.until(ended, "the end of the number")
    await waiting.until(lambda: all(one.verbs for one in held), "everything to be settled")
    known = await lifecycle.require(NUMBER)
    read, _ = await lifecycle.read(task.task_id, "somebody")
    await store.close()

    assert len(held) == 4  # a survey and a whole factorization, each twice
    assert [["ack"]] * 4 == [one.verbs for one in held]
    assert {P, Q} == {int(part.value) for part in known.parts}
    assert not known.outstanding
    assert not known.outbox
    assert read.ended is not None
    assert 0 == await memory_broker.depth(Queue.SURVEY) + await memory_broker.depth(Queue.WORK)
