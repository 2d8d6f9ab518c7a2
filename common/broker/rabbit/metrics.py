"""What every program counts about its connection to the broker, for Prometheus."""

from prometheus_client import Counter, Gauge

CONNECTIONS_LOST = Counter("factorline_broker_connections_lost", "Connections to RabbitMQ lost")
CONNECTIONS_MISSING = Gauge(
    "factorline_broker_connections_missing", "Connections to RabbitMQ that are wanted and not there"
)
PUBLISHES_FAILED = Counter(
    "factorline_publishes_failed", "Units and hints that RabbitMQ did not take, or not in time"
)
