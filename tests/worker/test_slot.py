"""Slots: real child processes that crash, hang, take too much memory and are stopped."""

import asyncio
import contextlib
import math
import random
import signal
import time

import psutil
import pytest
from msgspec.structs import replace

from common.domain import (
    BigInt,
    Certainty,
    Curves,
    Failure,
    Fault,
    Method,
    Sieve,
    Survey,
    Whole,
)
from factor_worker.engine.siqs.polynomials import parameters
from factor_worker.slots import forkserver
from factor_worker.slots.child import ChildLimits
from factor_worker.slots.errors import SlotBroken, UnitFailed, UnitStopped
from factor_worker.slots.slot import Slot
from tests.worker.children import GENEROUS, HARD, child_of, until_busy

P25, P40 = 10**24 + 7, 10**40 + 121


async def test_a_survey_returns_verified_pieces(slot: Slot) -> None:
    """Everything cheap about a number comes back from the child."""
    result = await slot.compute(Survey(BigInt(1234)))

    assert [(2, 1), (617, 1)] == [(piece.value, piece.exponent) for piece in result.pieces]
    assert all(piece.certainty is Certainty.PROVEN for piece in result.pieces)


async def test_curves_find_a_factor_and_count_themselves(slot: Slot) -> None:
    """A batch of curves through GMP-ECM splits its target."""
    work = Curves(BigInt(P25 * P40), Method.ECM, 50_000, 6, 200)
    result = await slot.compute(work)

    assert P25 * P40 == math.prod(piece.value for piece in result.pieces)
    assert {P25, P40} == {int(piece.value) for piece in result.pieces}
    assert 0 < result.curves <= work.count
    assert result.cpu_seconds > 0


async def test_a_unit_can_be_stopped_and_its_slot_computes_the_next_one(slot: Slot) -> None:
    """Even native code that never returns to Python is stopped."""
    computing = asyncio.create_task(slot.compute(Whole(HARD)))
    await until_busy(slot)
    started = time.monotonic()
    slot.stop()
    with pytest.raises(UnitStopped) as caught:
        await computing
    result = await slot.compute(Survey(BigInt(15)))

    assert 0.05 <= caught.value.cpu_seconds < 60
    assert len(result.pieces) == 2
    assert time.monotonic() - started < 5


async def test_a_killed_child_is_a_crash_and_its_slot_computes_the_next_unit(slot: Slot) -> None:
    """The failure names the signal."""
    computing = asyncio.create_task(slot.compute(Whole(HARD)))
    await until_busy(slot)
    child_of(slot).kill()
    with pytest.raises(UnitFailed) as caught:
        await computing

    assert caught.value.failure.fault is Fault.CRASH
    assert "SIGKILL" in caught.value.failure.detail
    assert (await slot.compute(Survey(BigInt(15)))).pieces


async def test_a_child_killed_while_idle_is_replaced(slot: Slot) -> None:
    """The next unit gets a new child, and is not blamed."""
    child = child_of(slot)
    child.kill()
    await asyncio.to_thread(child.wait, 5)

    assert (await slot.compute(Survey(BigInt(15)))).pieces


async def test_an_endless_unit_runs_out_of_time() -> None:
    """The wall-clock limit kills the child."""
    slot = Slot(GENEROUS._replace(unit_seconds=0.5))
    try:
        with pytest.raises(UnitFailed) as caught:
            await slot.compute(Whole(HARD))
    finally:
        await slot.close()

    assert caught.value.failure.fault is Fault.TIMEOUT
    assert 0 < caught.value.cpu_seconds < 60


async def test_a_child_that_outgrows_its_memory_limit_is_killed() -> None:
    """The limit is for resident memory."""
    slot = Slot(ChildLimits(60, 20 << 20))
    try:
        with pytest.raises(UnitFailed) as caught:
            await slot.compute(Whole(HARD))
    finally:
        await slot.close()

    assert caught.value.failure.fault is Fault.MEMORY


async def test_a_stopped_sieve_unit_keeps_its_child(slot: Slot) -> None:
    """It ends between two leading coefficients, because a new child would need new tables."""
    child = child_of(slot)
    work = Sieve(HARD, parameters.choose(HARD).to_dict(), 0, 10_000)
    computing = asyncio.create_task(slot.compute(work))
    await until_busy(slot)
    slot.stop()
    with pytest.raises(UnitStopped) as caught:
        await computing
    assert 0.05 <= caught.value.cpu_seconds < 60
    result = await slot.compute(replace(work, count=1))

    assert result.sieved is not None
    assert result.sieved.indices == 1
    assert child_of(slot) == child


async def test_a_suspended_process_is_killed_too(slot: Slot) -> None:
    """A child under SIGSTOP cannot handle SIGTERM, but dies of SIGKILL."""
    computing = asyncio.create_task(slot.compute(Whole(HARD)))
    await until_busy(slot)
    child = child_of(slot)
    child.send_signal(signal.SIGSTOP)
    slot.stop()
    with pytest.raises(UnitStopped):
        await computing
    await asyncio.to_thread(child.wait, 10)


async def test_nobody_waits_for_a_child_that_was_killed(slot: Slot) -> None:
    """Whenever that was: between units, while one is handed over, in its middle, as it answers."""
    moments = random.Random(1)

    async def kill_now_and_then() -> None:
        while True:
            await asyncio.sleep(moments.uniform(0, 0.1))
            with contextlib.suppress(psutil.NoSuchProcess):
                if slot._child is not None:  # noqa: SLF001 no slot shows its child
                    child_of(slot).kill()

    killing = asyncio.create_task(kill_now_and_then())
    ends = {"done": 0, "killed": 0}
    while min(ends.values()) < 10:
        try:
            await slot.compute(Survey(BigInt((10**12 + 39) * (10**9 + 7))))
        except UnitFailed as error:
            assert Failure(Fault.CRASH, "the child process died: SIGKILL") == error.failure  # noqa: PT017 one of two ends
            ends["killed"] += 1
        else:
            ends["done"] += 1
    killing.cancel()


async def test_a_unit_can_be_stopped_before_there_is_a_child() -> None:
    """Its slot may be starting one, and may have to try several times."""
    slot = Slot(GENEROUS)
    computing = asyncio.create_task(slot.compute(Whole(HARD)))
    await asyncio.sleep(0)
    slot.stop()
    with pytest.raises(UnitStopped):
        await computing
    assert (await slot.compute(Survey(BigInt(15)))).pieces
    await slot.close()


async def test_what_is_raised_in_a_child_is_the_fault_of_its_unit(slot: Slot) -> None:
    """The failure has the words of the error, and the child survives."""
    child = child_of(slot)
    with pytest.raises(UnitFailed) as caught:
        await slot.compute(Survey(BigInt(1)))

    assert caught.value.failure.fault is Fault.CRASH
    assert "1" in caught.value.failure.detail
    assert child == child_of(slot)


async def test_a_child_that_cannot_start_is_not_the_fault_of_a_unit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The worker has to know, so that it ends instead of failing number after number."""
    monkeypatch.setattr(forkserver, "TARGET", "factor_worker.slots.child:no_such_function")
    slot = Slot(GENEROUS)
    try:
        with pytest.raises(SlotBroken, match="No child process can be started"):
            await slot.compute(Survey(BigInt(15)))
    finally:
        await slot.close()
