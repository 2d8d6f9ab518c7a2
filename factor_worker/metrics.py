"""What a worker counts, for Prometheus."""

from prometheus_client import Counter, Gauge, Histogram

UNITS = Counter("factorline_units", "Units that ended, by kind and result", ["kind", "result"])
UNIT_SECONDS = Histogram(
    "factorline_unit_seconds",
    "Wall-clock time that a unit spent computing",
    ["kind"],
    buckets=(0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300),
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
SWEPT = Counter("factorline_swept", "What a sweep had to put right", ["what"])
SLOTS_BUSY = Gauge("factorline_slots_busy", "Units being computed by this worker")
