"""The Celery application and its one task."""

import os

from celery import Celery
from flint import fmpz

app = Celery("peer", broker=os.environ["PEER_BROKER"], backend=os.environ["PEER_BACKEND"])
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=4, result_expires=3600)


@app.task
def factor(number: str) -> str:
    """Return the prime factors with multiplicity, ascending."""
    factors = fmpz(int(number)).factor()
    return ",".join(str(p) for p, exponent in sorted(factors) for _ in range(exponent))
