"""What a worker counts, for Prometheus."""

from typing import get_args

from prometheus_client import Counter, Gauge, Histogram

from common.domain import Fault, Lane, Work, kind_named

UNITS = Counter("factorline_units", "Units that ended, by kind and result", ["kind", "result"])
UNIT_SECONDS = Histogram(
    "factorline_unit_seconds",
    "Wall-clock time that a unit spent computing; that of a short survey includes waiting for a child",
    ["kind"],
    buckets=(0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300),
)
QUEUE_SECONDS = Histogram(
    "factorline_queue_seconds",
    "Time between the issue of a unit and the beginning of its computation",
    ["queue"],
    buckets=(0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 600, 3600, 36_000),
)
QUEUE_AGE = Gauge(
    "factorline_queue_age_seconds",
    "At most how long the first unit of a queue has been waiting, by the last sweep; 0 if it is empty",
    ["queue"],
)
QUEUE_WAITING = Gauge("factorline_queue_waiting", "Units that wait, by the last sweep", ["queue"])
CHILDREN_DIED = Counter(
    "factorline_children_died",
    "Engine processes that ended without being asked: crash, memory, timeout, idle",
    ["how"],
)
STORE_RETRIES = Counter(
    "factorline_store_retries", "Calls repeated because the store did not answer"
)
SETTLED_BEFORE = Counter(
    "factorline_units_settled_before", "Deliveries of units that were settled already"
)
SWAPS_LOST = Counter("factorline_swaps_lost", "Swaps that another worker's swap preceded")
MALFORMED = Counter("factorline_messages_malformed", "Messages that are no units")
DEAD_LETTERS = Counter("factorline_dead_letters", "Dead letters turned into failures", ["reason"])
BATCHES_REFUSED = Counter(
    "factorline_batches_refused", "Batches of relations that did not pass verification"
)
SWEEPS = Counter("factorline_sweeps", "Sweeps, by whether they came to their end", ["result"])
SWEPT = Counter("factorline_swept", "What a sweep had to put right", ["what"])
ADMITTED = Counter(
    "factorline_tasks_admitted", "Tasks begun that had waited for a place, by lane", ["lane"]
)
WAITING_QUEUES = Gauge(
    "factorline_waiting_queues", "Owners and lanes served by this worker that have tasks waiting"
)
SLOTS_BUSY = Gauge(
    "factorline_slots_busy", "Units being computed by this worker, short surveys left out"
)


def begin_at_zero() -> None:
    """Show the counters that alerts watch from the start: Prometheus sees no growth in a first value."""
    for kind in get_args(Work):
        UNITS.labels(kind_named(kind), Fault.WRONG.value)
    for reason in ("rejected", "delivery_limit"):
        DEAD_LETTERS.labels(reason)
    for how in (Fault.CRASH.value, Fault.MEMORY.value, Fault.TIMEOUT.value, "idle"):
        CHILDREN_DIED.labels(how)
    for what in ("outbox", "unit", "unwanted"):
        SWEPT.labels(what)
    for lane in Lane:
        ADMITTED.labels(lane.value)


begin_at_zero()
