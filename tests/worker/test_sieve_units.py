"""A sieve in units: computed in a child, stored as batches, and solved from these."""

import math
from collections.abc import Sequence
from typing import get_args

from common.domain import BigInt, Certainty, Part, RelationBatch, Sieve, Solve
from factor_worker.engine.siqs.polynomials import parameters
from factor_worker.engine.siqs.solve.solve import Stage
from factor_worker.plan import sieve
from factor_worker.slots.child import STAGES
from factor_worker.slots.compute import StoredBatches
from factor_worker.slots.slot import Slot

P, Q = 10**22 + 9, 10**21 + 117
N = BigInt(P * Q)
CHOSEN = parameters.choose(N).to_dict()


async def sieved(slot: Slot, units: Sequence[Sieve]) -> list[tuple[str, bytes]]:
    """Return the packed batches of units, as a store would keep them."""
    batches = []
    for unit in units:
        result = await slot.compute(unit)
        assert result.sieved is not None
        assert result.batch is not None
        assert 0 < result.sieved.indices <= unit.count
        batches.append((f"u-{unit.first}", result.batch.pack()))
    return batches


async def enough(slot: Slot) -> StoredBatches:
    """Return the batches of a sieve that has enough relations, by the plan's own estimate."""
    state, batches = (
        sieve.begin(Part(value=N, certainty=Certainty.COMPOSITE)),
        list[tuple[str, bytes]](),
    )
    while state.usable < state.needed:
        unit = Sieve(N, CHOSEN, state.indices, 40)
        result = await slot.compute(unit)
        assert result.sieved is not None
        assert result.batch is not None
        batches.append((f"u-{unit.first}", result.batch.pack()))
        state = sieve.after_sieve(state, result.sieved, result.cpu_seconds, 0.0)
    return batches


async def test_units_add_up_to_a_factorization(slot: Slot) -> None:
    """What the plan takes for enough is enough; the pieces are proven and multiply to the target."""
    result = await slot.compute(Solve(N, CHOSEN), await enough(slot))
    solving = slot.progress()

    assert result.counted is None
    assert {P, Q} == {int(piece.value) for piece in result.pieces}
    assert math.prod(piece.value for piece in result.pieces) == N
    assert {Certainty.PROVEN} == {piece.certainty for piece in result.pieces}
    assert solving is not None
    assert solving.stage in STAGES


async def test_too_few_relations_are_counted(slot: Slot) -> None:
    """The answer says how many there are and how many are needed, without linear algebra."""
    result = await slot.compute(Solve(N, CHOSEN), await sieved(slot, [Sieve(N, CHOSEN, 0, 2)]))

    assert () == result.pieces
    assert result.counted is not None
    assert result.counted.usable < result.counted.needed
    assert {} == result.counted.refused


async def test_a_bad_batch_is_left_out_and_reported(slot: Slot) -> None:
    """Garbage, relations of other polynomials, or a shortened batch do not stop the solve unit."""
    [(_, good)] = await sieved(slot, [Sieve(N, CHOSEN, 0, 2)])
    real = RelationBatch.unpack(good)
    batches = [
        ("good", good),
        ("garbage", RelationBatch(2, 2, b"garbage").pack()),
        ("elsewhere", RelationBatch(1000, 2, real.data).pack()),
        ("cut", RelationBatch(0, 2, real.data[:-20]).pack()),
    ]
    result = await slot.compute(Solve(N, CHOSEN), batches)

    assert result.counted is not None
    assert {"garbage", "elsewhere", "cut"} == set(result.counted.refused)
    assert result.counted.usable > 0


def test_the_stages_in_progress_reports_are_those_of_the_engine() -> None:
    """They are reported by their place in the list."""
    assert get_args(Stage) == STAGES
