"""The announcer sends events to the gateways, and not more of them than gateways can use.

A number whose units take milliseconds gets hundreds of versions a second, and a gateway that follows it reads
it once a second. So after an event that is not urgent the number is quiet for a second. Of the events that
come meanwhile the newest one is sent when the second is over; urgent ones are sent at once.
"""

import asyncio
import contextlib

from common import errors
from common.broker import Broker
from common.domain import Event, key_of

QUIET_SECONDS = 1.0


class Announcer:
    """Sends at most one event for a number and second, besides the urgent ones.

    A broker that is down is no error: gateways look again from time to time.
    """

    def __init__(self, broker: Broker, *, quiet_seconds: float = QUIET_SECONDS) -> None:
        self._broker = broker
        self._quiet_seconds = quiet_seconds
        self._held: dict[str, Event | None] = {}
        """The numbers that are quiet, each with the newest event that waits."""
        self._sending: set[asyncio.Task[None]] = set()

    async def tell(self, event: Event) -> None:
        """Send an event, now or when its number has been quiet for long enough."""
        key = key_of(event.number)
        if event.urgent:
            if key in self._held:
                self._held[key] = None  # gateways read the newest version for this one
        elif key in self._held:
            self._held[key] = event
            return
        else:
            self._begin_quiet(key)
        await self._send(event)

    def _begin_quiet(self, key: str) -> None:
        self._held[key] = None
        asyncio.get_running_loop().call_later(self._quiet_seconds, self._end_quiet, key)

    def _end_quiet(self, key: str) -> None:
        event = self._held.pop(key)
        if event is None:
            return
        self._begin_quiet(key)
        sending = asyncio.create_task(self._send(event))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)

    async def _send(self, event: Event) -> None:
        with contextlib.suppress(errors.BrokerUnavailable):
            await self._broker.tell(event)
