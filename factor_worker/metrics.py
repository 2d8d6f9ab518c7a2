"""A worker's metrics, for Prometheus."""

from typing import get_args

from prometheus_client import Counter, Gauge, Histogram

from common.domain import Fault, Lane, Work, kind_named

UNITS = Counter(
    "factorline_units", "Units whose computation ended, by kind and result", ["kind", "result"]
)
UNIT_SECONDS = Histogram(
    "factorline_unit_seconds",
    "Wall-clock time of a unit's computation; for a short survey, waiting for a child is included",
    ["kind"],
    buckets=(0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300),
)
QUEUE_SECONDS = Histogram(
    "factorline_queue_seconds",
    "Time from the issue of a unit until a worker takes it up",
    ["queue"],
    buckets=(0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 600, 3600, 36_000),
)
QUEUE_AGE = Gauge(
    "factorline_queue_age_seconds",
    "Upper bound of the time that a queue's first unit has waited, as of the last sweep; 0 if empty",
    ["queue"],
)
QUEUE_WAITING = Gauge(
    "factorline_queue_waiting", "Units waiting in a queue, as of the last sweep", ["queue"]
)
CHILDREN_DIED = Counter(
    "factorline_children_died",
    "Child processes that died: of a crash, a limit of memory or time, a refused answer, or while idle",
    ["how"],
)
STORE_RETRIES = Counter(
    "factorline_store_retries", "Store calls repeated because the store did not answer"
)
SETTLED_BEFORE = Counter(
    "factorline_units_settled_before", "Deliveries of units that had been settled already"
)
SETTLED_TOGETHER = Histogram(
    "factorline_settled_together",
    "Outcomes settled by one swap, where many slots work on one number",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500),
)
SWAPS_LOST = Counter(
    "factorline_swaps_lost", "Swaps refused because another version had been stored first"
)
SIEVES_OFF_COURSE = Counter(
    "factorline_sieves_off_course",
    "Sieves that did not go as forecast, by what they did",
    ["turn"],
)
NUMBERS_STALLED = Gauge(
    "factorline_numbers_stalled",
    "Numbers in this worker's share without progress for three times as long as their units should take, "
    "as of the last sweep",
)
MALFORMED = Counter(
    "factorline_messages_malformed", "Messages dead-lettered because they are not units"
)
DEAD_LETTERS = Counter(
    "factorline_dead_letters",
    "Dead letters turned into failures of their units, by reason",
    ["reason"],
)
BATCHES_REFUSED = Counter(
    "factorline_batches_refused",
    "Batches of relations refused because they did not pass verification",
)
SWEEPS = Counter("factorline_sweeps", "Sweeps, by whether they were completed", ["result"])
SWEPT = Counter("factorline_swept", "What sweeps had to repair", ["what"])
STORE_BYTES = Gauge(
    "factorline_store_bytes", "Size of a part of the store on disk, with its indexes", ["part"]
)
ADMITTED = Counter(
    "factorline_tasks_admitted", "Tasks begun after waiting for a place, by lane", ["lane"]
)
WAITING_QUEUES = Gauge(
    "factorline_waiting_queues",
    "Pairs of owner and lane served by this worker that have tasks waiting",
)
SLOTS_BUSY = Gauge(
    "factorline_slots_busy", "Units that this worker is computing, short surveys not included"
)


def begin_at_zero() -> None:
    """Create the counters that alerts watch: Prometheus sees no increase in a value that is new."""
    for kind in get_args(Work):
        UNITS.labels(kind_named(kind), Fault.WRONG.value)
    for reason in ("rejected", "delivery_limit"):
        DEAD_LETTERS.labels(reason)
    for how in ("crash", "memory", "timeout", "wrong", "idle"):
        CHILDREN_DIED.labels(how)
    for what in ("ended", "leftovers", "outbox", "unit", "unwanted", "waiting"):
        SWEPT.labels(what)
    for turn in ("overrun", "begun anew", "given up"):
        SIEVES_OFF_COURSE.labels(turn)
    for lane in Lane:
        ADMITTED.labels(lane.value)


begin_at_zero()
