"""Events are coalesced at the source: fast progress costs one a second, and the last one is never lost."""

import asyncio

from common.announcer import Announcer
from common.broker.memory import MemoryBroker
from common.domain import BigInt, Event

QUIET_SECONDS = 0.05


class Heard:
    """A gateway that writes down what it hears."""

    def __init__(self) -> None:
        self.events: list[tuple[int, int]] = []

    async def on_event(self, event: Event) -> None:
        """Write an event down."""
        self.events.append((event.number, event.version))

    async def on_gap(self) -> None:
        """Do nothing."""

    async def expect(self, *events: tuple[int, int]) -> None:
        """Wait until exactly these have come, and then until nothing can be on its way any more."""
        async with asyncio.timeout(10):
            while len(self.events) < len(events):
                await asyncio.sleep(0.001)
        await asyncio.sleep(4 * QUIET_SECONDS)

        assert [*events] == self.events


async def begin(*, quiet_seconds: float = QUIET_SECONDS) -> tuple[Announcer, Heard]:
    """Return an announcer, and who hears it."""
    broker, heard = MemoryBroker(), Heard()
    await broker.open()
    await broker.subscribe_events(heard.on_event, heard.on_gap)
    return Announcer(broker, quiet_seconds=quiet_seconds), heard


def event(version: int, *, number: int = 91, urgent: bool = False) -> Event:
    """Return an event."""
    return Event(number=BigInt(number), version=version, urgent=urgent)


async def test_the_first_event_and_the_last_one_are_sent() -> None:
    """Of a hundred versions in a row nobody needs those between."""
    announcer, heard = await begin()
    for version in range(1, 101):
        await announcer.tell(event(version))

    await heard.expect((91, 1), (91, 100))


async def test_an_urgent_event_is_sent_at_once_and_replaces_what_waits() -> None:
    """After it there is nothing left to say."""
    announcer, heard = await begin()
    await announcer.tell(event(1))
    await announcer.tell(event(2))
    await announcer.tell(event(3, urgent=True))
    await announcer.tell(event(4, urgent=True))

    await heard.expect((91, 1), (91, 3), (91, 4))


async def test_numbers_do_not_wait_for_each_other() -> None:
    """Each has a second of its own."""
    announcer, heard = await begin(quiet_seconds=60.0)
    for number in (91, 93, 95):
        await announcer.tell(event(1, number=number))
        await announcer.tell(event(2, number=number))

    await heard.expect((91, 1), (93, 1), (95, 1))


async def test_a_quiet_number_is_forgotten() -> None:
    """A number that has been silent for long enough is heard at once again."""
    announcer, heard = await begin()
    await announcer.tell(event(1))
    await heard.expect((91, 1))
    await announcer.tell(event(2))

    await heard.expect((91, 1), (91, 2))
