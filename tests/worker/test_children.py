"""Slots: real child processes that crash, hang, eat memory and are stopped."""

import asyncio
import contextlib
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

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
    Work,
)
from factor_worker.engine.siqs.polynomials import parameters
from factor_worker.slots.child import KEPT_ENVIRONMENT, Limits
from factor_worker.slots.slot import Slot, SlotBroken, Slots, UnitFailed, UnitStopped
from tests import waiting

HARD = BigInt(2934721143920810936805613480763073834220291833356430512568092958244091)
"""Seventy digits: half a minute for FLINT."""
ROOT = Path(__file__).parents[2]
P25, P40 = 10**24 + 7, 10**40 + 121


@pytest.fixture
async def slot() -> AsyncIterator[Slot]:
    """Yield a warm slot with generous limits."""
    slot = Slot(Limits(600, 1024 << 20))
    await slot.warm()
    yield slot
    await slot.close()


def child_of(slot: Slot) -> psutil.Process:
    """Return the slot's process."""
    assert slot._child is not None  # noqa: SLF001 a test looks behind the curtain
    return psutil.Process(slot._child.pid)  # noqa: SLF001 as above


async def until_busy(slot: Slot) -> None:
    """Return when the child has begun to compute."""
    before = sum(child_of(slot).cpu_times()[:2])
    async with asyncio.timeout(10):
        while sum(child_of(slot).cpu_times()[:2]) - before < 0.05:
            await asyncio.sleep(0.01)


async def test_a_survey_returns_verified_pieces(slot: Slot) -> None:
    """Everything cheap about a number comes back from the child."""
    result = await slot.run(Survey(BigInt(1234)))

    assert [(2, 1), (617, 1)] == [(piece.value, piece.exponent) for piece in result.pieces]
    assert all(piece.certainty is Certainty.PROVEN for piece in result.pieces)


async def test_curves_find_a_factor_and_count_themselves(slot: Slot) -> None:
    """A batch of curves through GMP-ECM splits its target."""
    work = Curves(BigInt(P25 * P40), Method.ECM, 50_000, 6, 200)
    result = await slot.run(work)

    assert P25 * P40 == math.prod(piece.value for piece in result.pieces)
    assert {P25, P40} == {piece.value for piece in result.pieces}
    assert 0 < result.curves <= work.count
    assert result.cpu_seconds > 0


async def test_a_stopped_unit_dies_within_a_second_and_the_slot_lives_on(slot: Slot) -> None:
    """Native code that never returns to Python is stopped all the same."""
    running = asyncio.create_task(slot.run(Whole(HARD)))
    await until_busy(slot)
    started = time.monotonic()
    slot.stop()
    with pytest.raises(UnitStopped):
        await running
    result = await slot.run(Survey(BigInt(15)))

    assert len(result.pieces) == 2
    assert time.monotonic() - started < 5


async def test_a_killed_child_is_a_crash_and_the_slot_lives_on(slot: Slot) -> None:
    """SIGKILL of the child is reported with its signal."""
    running = asyncio.create_task(slot.run(Whole(HARD)))
    await until_busy(slot)
    child_of(slot).kill()
    with pytest.raises(UnitFailed) as caught:
        await running

    assert caught.value.failure.fault is Fault.CRASH
    assert "SIGKILL" in caught.value.failure.detail
    assert (await slot.run(Survey(BigInt(15)))).pieces


async def test_a_child_killed_while_idle_is_replaced(slot: Slot) -> None:
    """The next unit gets a fresh child."""
    child = child_of(slot)
    child.kill()
    await asyncio.to_thread(child.wait, 5)

    assert (await slot.run(Survey(BigInt(15)))).pieces


LINUX = pytest.mark.skipif(sys.platform != "linux", reason="linux: elsewhere nothing is forked")


@LINUX
async def test_a_child_dies_with_its_fork_server(slot: Slot) -> None:
    """If it was busy that is a crash, and the next child comes from a new server."""
    running = asyncio.create_task(slot.run(Whole(HARD)))
    await until_busy(slot)
    server = child_of(slot).parent()
    assert server is not None
    assert server.parent() == psutil.Process()
    server.kill()
    with pytest.raises(UnitFailed) as caught:
        await running

    assert caught.value.failure.fault is Fault.CRASH
    assert (await slot.run(Survey(BigInt(15)))).pieces
    assert child_of(slot).parent() != server


@LINUX
async def test_a_new_fork_server_loads_without_holding_up_others(slot: Slot) -> None:
    """Whoever dies while idle is noticed at the next unit; others go on while it is replaced."""
    server = child_of(slot).parent()
    assert server is not None
    child = child_of(slot)
    server.kill()
    await waiting.until(lambda: not child.is_running(), "the end of the child")
    running = asyncio.create_task(slot.run(Survey(BigInt(15))))
    turns = 0
    while not running.done():
        await asyncio.sleep(0.01)
        turns += 1

    assert (await running).pieces
    assert turns > 20  # there were two or three when the loop waited for the server


WORKER = f"""
import asyncio
from common.domain.codec import BigInt
from common.domain.units import Whole
from factor_worker.slots.child import Limits
from factor_worker.slots.slot import Slot

async def main():
    slot = Slot(Limits(600, 1024 << 20))
    await slot.warm()
    print(slot._child.pid, flush=True)
    await slot.run(Whole(BigInt({HARD})))

if __name__ == "__main__":
    asyncio.run(main())
"""


@LINUX
async def test_a_busy_child_dies_with_its_worker(tmp_path: Path) -> None:
    """After SIGKILL of the worker nobody computes what nobody will hear of."""
    program = tmp_path / "worker.py"
    program.write_text(WORKER)
    worker = await asyncio.create_subprocess_exec(
        sys.executable, program, stdout=asyncio.subprocess.PIPE, env={"PYTHONPATH": str(ROOT)}
    )
    assert worker.stdout is not None
    child = psutil.Process(int(await worker.stdout.readline()))
    server = child.parent()
    assert server is not None
    await waiting.until(lambda: child.cpu_times().user > 0.1, "a busy child")
    worker.kill()
    await worker.wait()

    await asyncio.to_thread(psutil.wait_procs, [child, server], timeout=5)
    assert not child.is_running()
    assert not server.is_running()
    await worker.communicate()  # closes the pipe that they all held


@LINUX
@pytest.mark.parametrize(("niceness", "policy"), [(0, "SCHED_OTHER"), (5, "SCHED_BATCH")])
async def test_a_nice_child_interrupts_nobody(niceness: int, policy: str) -> None:
    """Whoever hands it work goes on."""
    slot = Slot(Limits(600, 1024 << 20, niceness=niceness))
    try:
        await slot.warm()
        assert getattr(os, policy) == os.sched_getscheduler(child_of(slot).pid)
    finally:
        await slot.close()


async def test_an_endless_unit_runs_out_of_time() -> None:
    """The wall-clock limit kills the child."""
    slot = Slot(Limits(0.5, 1024 << 20))
    try:
        with pytest.raises(UnitFailed) as caught:
            await slot.run(Whole(HARD))
    finally:
        await slot.close()

    assert caught.value.failure.fault is Fault.TIMEOUT


async def test_a_child_that_outgrows_its_memory_is_killed() -> None:
    """The limit counts what is resident, the programs that the child runs included."""
    slot = Slot(Limits(60, 20 << 20))
    try:
        with pytest.raises(UnitFailed) as caught:
            await slot.run(Whole(HARD))
    finally:
        await slot.close()

    assert caught.value.failure.fault is Fault.MEMORY


async def test_a_sieve_that_is_stopped_costs_no_child(slot: Slot) -> None:
    """It ends between two leading coefficients: a new child would have to load the kernels."""
    child = child_of(slot)
    work = Sieve(HARD, parameters.choose(HARD).to_dict(), 0, 10_000)
    running = asyncio.create_task(slot.run(work))
    await until_busy(slot)
    slot.stop()
    with pytest.raises(UnitStopped):
        await running
    result = await slot.run(replace(work, count=1))

    assert result.sieved is not None
    assert result.sieved.indices == 1
    assert child_of(slot) == child


async def test_a_stopped_process_is_killed_too(slot: Slot) -> None:
    """A child under SIGSTOP cannot handle SIGTERM, and dies of SIGKILL."""
    running = asyncio.create_task(slot.run(Whole(HARD)))
    await until_busy(slot)
    child = child_of(slot)
    child.send_signal(signal.SIGSTOP)
    slot.stop()
    with pytest.raises(UnitStopped):
        await running
    await asyncio.to_thread(child.wait, 10)


async def test_nobody_waits_for_a_child_that_was_killed(slot: Slot) -> None:
    """Whenever that was: between units, while one is handed over, in its middle, as it answers."""
    moments = random.Random(1)

    async def kill_now_and_then() -> None:
        while True:
            await asyncio.sleep(moments.uniform(0, 0.1))
            with contextlib.suppress(psutil.NoSuchProcess):
                if slot._child is not None:  # noqa: SLF001 as above
                    child_of(slot).kill()

    killing = asyncio.create_task(kill_now_and_then())
    ends = {"done": 0, "killed": 0}
    while min(ends.values()) < 10:
        try:
            await slot.run(Survey(BigInt((10**12 + 39) * (10**9 + 7))))
        except UnitFailed as error:
            assert Failure(Fault.CRASH, "the child process died: SIGKILL") == error.failure  # noqa: PT017 one of two ends
            ends["killed"] += 1
        else:
            ends["done"] += 1
    killing.cancel()


async def test_a_unit_can_be_stopped_before_there_is_a_child() -> None:
    """Its slot may have begun to start one, and whoever starts may have to try again."""
    slot = Slot(Limits(600, 1024 << 20))
    running = asyncio.create_task(slot.run(Whole(HARD)))
    await asyncio.sleep(0)
    slot.stop()
    with pytest.raises(UnitStopped):
        await running
    assert (await slot.run(Survey(BigInt(15)))).pieces
    await slot.close()


async def test_an_error_that_cannot_be_sent_is_told_in_words(slot: Slot) -> None:
    """The child lives on."""
    child = child_of(slot)
    with pytest.raises(UnitFailed) as caught:
        await slot._call(10, _raise_what_cannot_be_sent)  # noqa: SLF001 nothing of ours raises such a thing

    assert "Unsendable" in caught.value.failure.detail
    assert child == child_of(slot)


async def test_a_child_that_cannot_start_is_not_the_fault_of_a_unit() -> None:
    """The worker has to know, so that it ends in place of failing number after number."""
    unusable = cast("int", "a niceness that no child can take")
    slot = Slot(Limits(600, 1024 << 20, niceness=unusable))
    try:
        with pytest.raises(SlotBroken):
            await slot.run(Survey(BigInt(15)))
    finally:
        await slot.close()


@pytest.fixture
async def slots() -> AsyncIterator[Slots]:
    """Yield one slot that short pieces of work share."""
    slots = Slots(1, Limits(600, 1024 << 20))
    await slots.warm()
    yield slots
    await slots.close()


async def test_short_surveys_share_a_child(slots: Slots) -> None:
    """Each gets its own result, however many are handed over together."""
    works = [Survey(BigInt((10**12 + 39) * (10**9 + 7) * n)) for n in range(2, 40)]

    results = await asyncio.gather(*map(slots.run_together, works))

    assert [int(work.target) for work in works] == [
        math.prod(piece.value**piece.exponent for piece in result.pieces) for result in results
    ]


async def test_what_fails_fails_alone(slots: Slots) -> None:
    """An error in the middle of a group is that of one piece of work."""
    works = [Survey(BigInt(n)) for n in (1234, 1, 1235)]

    first, second, third = await asyncio.gather(
        *map(slots.run_together, works), return_exceptions=True
    )

    assert isinstance(second, UnitFailed)
    assert "1" in second.failure.detail
    assert not isinstance(first, BaseException)
    assert not isinstance(third, BaseException)
    assert third.pieces[0].value == 5


async def test_a_crash_is_blamed_on_none_of_a_group(slots: Slots) -> None:
    """Each is computed again alone, and those that do not crash alone have their results."""
    long = Curves(BigInt(HARD), Method.ECM, 50_000, 6, 40)  # two seconds
    works: list[Work] = [long, Survey(BigInt(1234)), Survey(BigInt(1235))]
    async with slots.take() as slot:
        pass
    running = asyncio.gather(*map(slots.run_together, works))
    await asyncio.sleep(0.2)  # GMP-ECM computes, in a process of its own
    child_of(slot).kill()

    curves, *surveys = await running

    assert 40 == curves.curves
    assert [2, 5] == [result.pieces[0].value for result in surveys]


async def test_whoever_gives_up_waiting_harms_nobody(slots: Slots) -> None:
    """The others of the group get their results."""
    given_up = asyncio.create_task(slots.run_together(Survey(BigInt(1234))))
    other = asyncio.create_task(slots.run_together(Survey(BigInt(1235))))
    await asyncio.sleep(0)
    given_up.cancel()

    assert (await other).pieces[0].value == 5


async def test_a_child_sees_no_secret(slot: Slot) -> None:
    """The environment of the worker, pytest's own variables among it, stays with the worker."""
    names = await slot._call(10, _names)  # noqa: SLF001 as above

    assert "PYTEST_CURRENT_TEST" in os.environ
    assert set(KEPT_ENVIRONMENT) >= names


@LINUX
def test_the_server_is_given_no_secret() -> None:
    """What a process was started with can be read as long as it lives, whatever it deletes."""
    begun = (
        "import os, psutil; from factor_worker.slots import forkserver; forkserver.begin();"
        "print([name for child in psutil.Process().children() for name in child.environ()]);"
        "print(os.environ['FACTORLINE_MONGODB_URI'])"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), "FACTORLINE_MONGODB_URI": "mongodb://u:p@h"}
    shown = subprocess.run(  # noqa: S603 ours
        [sys.executable, "-c", begun], env=env, capture_output=True, text=True, check=True
    )
    given, left = shown.stdout.splitlines()

    assert "'PYTHONPATH'" in given
    assert "FACTORLINE_MONGODB_URI" not in given
    assert left == "mongodb://u:p@h"


def _names() -> set[str]:
    return set(os.environ)


class _Unsendable(Exception):
    def __init__(self, one: str, other: str) -> None:
        super().__init__(one + other)  # so that it cannot be made again of its arguments


def _raise_what_cannot_be_sent() -> None:
    raise _Unsendable("a", "b")
