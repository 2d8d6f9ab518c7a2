"""Parts of a worker, put together for a test."""

from common.broker import Broker
from common.domain import Cluster
from common.store import Store
from factor_worker.heartbeat import Heartbeat
from factor_worker.metering import Meter
from factor_worker.settlement import Settlement


def settlement(store: Store, broker: Broker, *, slots: int = 1) -> Settlement:
    """Return the settlement of one of the workers of a cluster with so many slots."""
    heartbeat = Heartbeat(store, worker_id="w")
    heartbeat.cluster = Cluster(slots=slots)
    return Settlement(store, broker, heartbeat, meter=Meter(store), sieve_digits=100)
