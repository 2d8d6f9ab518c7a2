"""An open-loop load generator: requests are sent on schedule, whether or not earlier ones are answered.

A generator that sends the next request when the last one is answered slows down together with the service
and hides its pauses ("coordinated omission", Gil Tene). Here latency counts from the time at which a request
was scheduled, and the latency of a request without an answer is infinite.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from hdrh.histogram import HdrHistogram

MAX_LATENCY_SECONDS = 60.0
PRECISION_DIGITS = 3
MICROSECONDS = 1_000_000


@dataclass
class Measured:
    """The result of a load. Latencies are in seconds."""

    rate: float
    """Requests per second that were scheduled."""
    seconds: float = 0.0
    """From the schedule of the first request to the last answer."""
    answered: int = 0
    lost: int = 0
    """Requests that failed or were not answered in time."""
    errors: dict[str, int] = field(default_factory=dict)
    """The errors of the lost requests, and how often each came."""
    _histogram: HdrHistogram = field(
        default_factory=lambda: HdrHistogram(
            1, int(MAX_LATENCY_SECONDS * MICROSECONDS), PRECISION_DIGITS
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
        self.errors[name] = self.errors.get(name, 0) + 1

    def quantile(self, percent: float) -> float:
        """Return the latency that this percentage of all requests did not exceed, lost ones included."""
        total = self.answered + self.lost
        if not total or percent / 100 * total > self.answered:
            return math.inf
        among_answered = percent * total / self.answered
        return float(self._histogram.get_value_at_percentile(among_answered)) / MICROSECONDS

    @property
    def throughput(self) -> float:
        """Answers per second."""
        return self.answered / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        """Write the result as a line."""
        quantiles = "  ".join(f"p{p:g} {1000 * self.quantile(p):8.1f}" for p in (50, 90, 99, 99.9))
        lost = f"  lost {self.lost}: {self.errors}" if self.lost else ""
        return f"{self.rate:6.0f}/s offered  {self.throughput:6.0f}/s done   ms: {quantiles}{lost}"


async def run(
    request: Callable[[int], Awaitable[None]], *, rate: float, seconds: float, timeout_s: float
) -> Measured:
    """Send requests at a fixed rate, and wait for the last answer.

    Args:
        request: Sends the i-th request and returns when it is answered in full.
        rate: Requests per second, evenly spaced.
        seconds: How long to send requests.
        timeout_s: An answer that comes later than this after the scheduled time counts as lost.

    """
    loop = asyncio.get_running_loop()
    measured = Measured(rate)
    started = loop.time()
    running: set[asyncio.Task[None]] = set()

    async def one(index: int, scheduled: float) -> None:
        try:
            async with asyncio.timeout_at(scheduled + timeout_s):
                await request(index)
        except Exception as error:  # noqa: BLE001 any error means that there was no answer
            measured.note_loss(error)
        else:
            measured.note(loop.time() - scheduled)

    for index in range(round(rate * seconds)):
        scheduled = started + index / rate
        if (early := scheduled - loop.time()) > 0:
            await asyncio.sleep(early)
        task = asyncio.create_task(one(index, scheduled))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    measured.seconds = loop.time() - started
    return measured
