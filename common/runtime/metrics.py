"""Metrics that gateways and workers share, for Prometheus: their connections to the servers."""

from prometheus_client import Counter, Gauge

CONNECTIONS_LOST = Counter("factorline_broker_connections_lost", "Connections to RabbitMQ lost")
CONNECTIONS_MISSING = Gauge(
    "factorline_broker_connections_missing", "Connections to RabbitMQ that should be up and are not"
)
PUBLISHES_FAILED = Counter(
    "factorline_publishes_failed", "Units and hints that RabbitMQ did not accept in time"
)
CLOCK_SKEW = Gauge(
    "factorline_clock_skew_seconds", "How far this machine's clock is ahead of the store's"
)
