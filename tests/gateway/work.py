"""What a worker would do to a factorization, without the arithmetic."""

import time

from msgspec.structs import replace

from common.broker import Broker
from common.domain import BigInt, Certainty, Ending, Factorization, Part, Status
from common.domain.factorizations import begin
from common.lifecycle import Lifecycle
from common.store import Store


def part(value: int, exponent: int = 1, certainty: Certainty = Certainty.PROVEN) -> Part:
    """Return a part, by default a proven prime."""
    return Part(value=BigInt(value), exponent=exponent, certainty=certainty)


def ended(
    number: int, *parts: Part, status: Status = Status.SUCCEEDED, reason: str | None = None
) -> Factorization:
    """Return the second version of a factorization, with these parts and this ending."""
    return replace(
        begin(number, 1.0),
        version=2,
        parts=parts,
        outstanding={},
        outbox=(),
        ended=Ending(status=status, at=2.0, reason=reason),
    )


async def finish(
    store: Store,
    broker: Broker,
    number: int,
    *parts: Part,
    status: Status = Status.SUCCEEDED,
    reason: str | None = None,
) -> None:
    """Write the end of the work into the store and tell the gateways."""
    lifecycle = Lifecycle(store, broker)
    known = await lifecycle.require(number)
    after = replace(
        ended(number, *parts, status=status, reason=reason),
        version=known.version + 1,
        touched_at=time.time(),
    )
    assert await store.swap_factorization(after)
    await lifecycle.end_live_tasks(after)
    await lifecycle.tell(after)
