"""What every broker promises; the same tests run in memory and against a real RabbitMQ node."""

import asyncio
from collections.abc import Sequence

from common.broker import DELIVERY_LIMIT, Broker, Delivery, Queue
from common.domain import BigInt, Control, Curves, Event, Method, Survey, Unit
from tests import waiting


def survey(index: int) -> Unit:
    """Return a unit for the survey queue."""
    number = BigInt(10**30 + index)
    return Unit(unit_id=f"s-{index}", number=number, work=Survey(number))


def curves(index: int) -> Unit:
    """Return a unit for the work queue."""
    number = BigInt(10**60 + index)
    return Unit(unit_id=f"w-{index}", number=number, work=Curves(number, Method.ECM, 11_000, 6, 5))


class Reader:
    """A handler that notes what it gets and settles it with one verb."""

    def __init__(self, verb: str = "ack") -> None:
        self.verb = verb
        self.seen: list[str] = []
        self.held: list[Delivery] = []
        self.redelivered: list[bool] = []

    async def __call__(self, delivery: Delivery) -> None:
        """Take one delivery."""
        self.seen.append(Unit.decode(delivery.body).unit_id)
        self.redelivered.append(delivery.redelivered)
        match self.verb:
            case "hold":
                self.held.append(delivery)
                await asyncio.Event().wait()
            case "raise":
                raise ValueError(self.seen[-1])
            case _:
                await getattr(delivery, self.verb)()


async def empty(broker: Broker, queue: Queue) -> bool:
    """Return whether a queue is empty."""
    return await broker.depth(queue) == 0


def ids(units: Sequence[Unit]) -> list[str]:
    """Return the units' ids."""
    return [unit.unit_id for unit in units]


async def test_units_go_to_their_queues_and_come_back_in_order(broker: Broker) -> None:
    """Confirmed units are counted, and delivered first in, first out."""
    surveys, works = [survey(i) for i in range(20)], [curves(i) for i in range(3)]
    await broker.publish([*surveys, *works])

    assert (20, 3) == (await broker.depth(Queue.SURVEY), await broker.depth(Queue.WORK))
    reader = Reader()
    await broker.consume(Queue.SURVEY, reader, prefetch=1)
    await waiting.until(lambda: len(reader.seen) == len(surveys), "all surveys")
    assert ids(surveys) == reader.seen
    assert 3 == await broker.depth(Queue.WORK)


async def test_consumers_compete(broker: Broker) -> None:
    """Each unit goes to one consumer, and a consumer that still holds a unit gets no other."""
    holder, worker = Reader("hold"), Reader()
    await broker.consume(Queue.WORK, holder, prefetch=1)
    await broker.publish([curves(0)])
    await waiting.until(lambda: bool(holder.seen), "the first delivery")
    await broker.consume(Queue.WORK, worker, prefetch=1)
    await broker.publish([curves(i) for i in range(1, 10)])
    await waiting.until(lambda: len(worker.seen) == 9, "the others")

    assert ["w-0"] == holder.seen
    assert sorted(f"w-{i}" for i in range(1, 10)) == sorted(worker.seen)


async def test_prefetch_limits_what_a_consumer_holds(broker: Broker) -> None:
    """A consumer holds at most that many units, and the rest wait for other consumers."""
    holder = Reader("hold")
    await broker.consume(Queue.WORK, holder, prefetch=3)
    await broker.publish([curves(i) for i in range(10)])
    await waiting.until(lambda: len(holder.seen) == 3, "three deliveries")
    await waiting.until(lambda: _depth_is(broker, 7), "seven that wait")

    assert 3 == len(holder.seen)


async def _depth_is(broker: Broker, count: int) -> bool:
    return await broker.depth(Queue.WORK) == count


async def test_a_requeued_unit_is_delivered_to_another_consumer(broker: Broker) -> None:
    """Nothing is lost by it."""
    first = Reader("requeue")
    subscription = await broker.consume(Queue.WORK, first, prefetch=1)
    await broker.publish([curves(0)])
    await waiting.until(lambda: bool(first.seen), "the first delivery")
    await subscription.cancel()
    await subscription.cancel()
    second = Reader()
    await broker.consume(Queue.WORK, second, prefetch=1)
    await waiting.until(lambda: second.seen == ["w-0"], "the second delivery")
    assert (False, True) == (first.redelivered[0], second.redelivered[-1])


async def test_a_cancelled_consumer_can_settle_what_it_holds(broker: Broker) -> None:
    """It gets nothing new, and its acknowledgements still count."""
    holder = Reader("hold")
    subscription = await broker.consume(Queue.WORK, holder, prefetch=1)
    await broker.publish([curves(0)])
    await waiting.until(lambda: bool(holder.held), "a delivery")
    await subscription.cancel()
    await holder.held[0].ack()
    await broker.publish([curves(1)])
    other = Reader()
    await broker.consume(Queue.WORK, other, prefetch=1)
    await waiting.until(lambda: other.seen == ["w-1"], "only the new unit")

    assert ["w-0"] == holder.seen


async def test_a_rejected_unit_is_a_dead_letter_with_its_reason(broker: Broker) -> None:
    """It arrives in the dead-letter queue unchanged."""
    await broker.consume(Queue.WORK, Reader("reject"), prefetch=1)
    reasons: list[str | None] = []
    bodies: list[str] = []

    async def bury(delivery: Delivery) -> None:
        reasons.append(delivery.reason)
        bodies.append(Unit.decode(delivery.body).unit_id)
        await delivery.ack()

    await broker.consume(Queue.DEAD, bury, prefetch=1)
    await broker.publish([curves(0)])
    await waiting.until(lambda: bool(reasons), "the dead letter")

    assert (["rejected"], ["w-0"]) == (reasons, bodies)


async def test_a_unit_that_nobody_can_handle_becomes_a_dead_letter(broker: Broker) -> None:
    """A handler that raises gets it again, up to a limit; other units are not affected."""
    poisoned, buried = Reader("raise"), Reader()
    await broker.consume(Queue.WORK, poisoned, prefetch=1)
    await broker.consume(Queue.DEAD, buried, prefetch=1)
    await broker.publish([curves(0)])
    await waiting.until(lambda: bool(buried.seen), "the dead letter", seconds=20)

    assert ["w-0"] == buried.seen
    assert DELIVERY_LIMIT + 1 == len(poisoned.seen)
    await waiting.until(lambda: empty(broker, Queue.WORK), "an empty queue")


async def test_every_subscriber_hears_every_event(broker: Broker) -> None:
    """Events go to everybody, in order, and carry large numbers exactly."""
    heard: list[list[int]] = [[], [], []]

    async def no_gap() -> None:
        """Nothing to do."""

    for mine in heard:

        async def hear(event: Event, mine: list[int] = mine) -> None:
            assert event.number == 10**900
            mine.append(event.version)

        await broker.subscribe_events(hear, no_gap)
    for version in range(1, 21):
        await broker.tell(Event(number=BigInt(10**900), version=version))
    await waiting.until(lambda: all(len(mine) == 20 for mine in heard), "all events")

    assert [list(range(1, 21))] * 3 == heard


async def test_every_worker_hears_control_messages_until_it_leaves(broker: Broker) -> None:
    """A cancelled subscription hears nothing more."""
    stays: list[int] = []
    leaves: list[int] = []

    async def no_gap() -> None:
        """Nothing to do."""

    subscriptions = []
    for mine in (stays, leaves):

        async def hear(control: Control, mine: list[int] = mine) -> None:
            mine.append(int(control.number))

        subscriptions.append(await broker.subscribe_control(hear, no_gap))
    await broker.control(Control(number=BigInt(1)))
    await waiting.until(lambda: stays == leaves == [1], "the first message")
    await subscriptions[1].cancel()
    await broker.control(Control(number=BigInt(2)))
    await waiting.until(lambda: stays == [1, 2], "the second message")

    assert [1] == leaves


async def test_publishing_nothing_is_no_error(broker: Broker) -> None:
    """An empty list is confirmed at once."""
    await broker.publish([])

    assert broker.connected
