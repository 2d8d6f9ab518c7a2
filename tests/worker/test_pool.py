"""The pool: short pieces of work share a child in groups, and each gets its own answer."""

import asyncio
import math

from common.domain import BigInt, Curves, Method, Survey, Work
from factor_worker.slots.errors import UnitFailed
from factor_worker.slots.pool import Pool
from tests.worker.children import HARD, child_of


async def test_short_surveys_share_a_child(pool: Pool) -> None:
    """Each gets its own result, however many are handed over together."""
    works = [Survey(BigInt((10**12 + 39) * (10**9 + 7) * n)) for n in range(2, 40)]

    results = await asyncio.gather(*map(pool.compute_grouped, works))

    assert [int(work.target) for work in works] == [
        math.prod(piece.value**piece.exponent for piece in result.pieces) for result in results
    ]


async def test_an_error_in_a_group_belongs_to_one_work(pool: Pool) -> None:
    """The others of the group get their results."""
    works = [Survey(BigInt(n)) for n in (1234, 1, 1235)]

    first, second, third = await asyncio.gather(
        *map(pool.compute_grouped, works), return_exceptions=True
    )

    assert isinstance(second, UnitFailed)
    assert "1" in second.failure.detail
    assert not isinstance(first, BaseException)
    assert not isinstance(third, BaseException)
    assert third.pieces[0].value == 5


async def test_after_a_crash_each_work_of_the_group_is_computed_alone(pool: Pool) -> None:
    """None of them is blamed, and those that do not crash when alone get their results."""
    long = Curves(BigInt(HARD), Method.ECM, 50_000, 6, 40)  # two seconds
    works: list[Work] = [long, Survey(BigInt(1234)), Survey(BigInt(1235))]
    async with pool.take() as slot:
        pass
    computing = asyncio.gather(*map(pool.compute_grouped, works))
    await asyncio.sleep(0.2)  # GMP-ECM computes, in a process of its own
    child_of(slot).kill()

    curves, *surveys = await computing

    assert 40 == curves.curves
    assert [2, 5] == [result.pieces[0].value for result in surveys]


async def test_a_caller_that_is_cancelled_does_not_affect_the_rest_of_its_group(pool: Pool) -> None:
    """The others get their results."""
    cancelled = asyncio.create_task(pool.compute_grouped(Survey(BigInt(1234))))
    other = asyncio.create_task(pool.compute_grouped(Survey(BigInt(1235))))
    await asyncio.sleep(0)
    cancelled.cancel()

    assert (await other).pieces[0].value == 5
