"""Load that does not wait for the service: every request has its time, and lateness counts as latency.

A load generator that sends the next request when the last one is answered slows down together with
what it measures and hides its pauses ("coordinated omission", Gil Tene). Here latency counts from the
moment at which a request was meant to be sent, and a request without an answer counts as infinite.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from hdrh.histogram import HdrHistogram

LONGEST_SECONDS = 60.0
PRECISION_DIGITS = 3
MICROSECONDS = 1_000_000


@dataclass
class Measured:
    """What came of a load. Latencies are in seconds."""

    rate: float
    """Requests a second that were meant to be sent."""
    seconds: float = 0.0
    """From the first request that was meant to be sent to the last answer."""
    answered: int = 0
    lost: int = 0
    """Requests that failed or were not answered in time."""
    faults: dict[str, int] = field(default_factory=dict)
    """What happened to the lost ones, and how often."""
    _histogram: HdrHistogram = field(
        default_factory=lambda: HdrHistogram(
            1, int(LONGEST_SECONDS * MICROSECONDS), PRECISION_DIGITS
        )
    )

    def note(self, latency: float) -> None:
        """Count an answer."""
        self.answered += 1
        self._histogram.record_value(max(1, int(latency * MICROSECONDS)))

    def note_loss(self, error: BaseException) -> None:
        """Count a request without an answer."""
        self.lost += 1
        name = type(error).__name__
        self.faults[name] = self.faults.get(name, 0) + 1

    def quantile(self, percent: float) -> float:
        """Return the latency that so many percent of all requests did not exceed, lost ones included."""
        total = self.answered + self.lost
        if not total or percent / 100 * total > self.answered:
            return math.inf
        among_answered = percent * total / self.answered
        return float(self._histogram.get_value_at_percentile(among_answered)) / MICROSECONDS

    @property
    def throughput(self) -> float:
        """Answers a second."""
        return self.answered / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        """Tell it in a line."""
        quantiles = "  ".join(f"p{p:g} {1000 * self.quantile(p):8.1f}" for p in (50, 90, 99, 99.9))
        lost = f"  lost {self.lost}: {self.faults}" if self.lost else ""
        return f"{self.rate:6.0f}/s offered  {self.throughput:6.0f}/s done   ms: {quantiles}{lost}"


async def run(
    request: Callable[[int], Awaitable[None]], *, rate: float, seconds: float, timeout_s: float
) -> Measured:
    """Send requests at a rate for so many seconds, and wait for the last answer.

    Args:
        request: Sends the i-th request and returns when it is answered in full.
        rate: Requests a second, evenly spaced.
        seconds: How long to send.
        timeout_s: An answer later than this after the intended time does not count.

    """
    loop = asyncio.get_running_loop()
    measured = Measured(rate)
    began = loop.time()
    running: set[asyncio.Task[None]] = set()

    async def one(index: int, intended: float) -> None:
        try:
            async with asyncio.timeout_at(intended + timeout_s):
                await request(index)
        except Exception as error:  # noqa: BLE001 whatever it is, it was no answer
            measured.note_loss(error)
        else:
            measured.note(loop.time() - intended)

    for index in range(round(rate * seconds)):
        intended = began + index / rate
        if (early := intended - loop.time()) > 0:
            await asyncio.sleep(early)
        task = asyncio.create_task(one(index, intended))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    measured.seconds = loop.time() - began
    return measured
