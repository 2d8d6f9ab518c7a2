"""Child processes: where they come from, what they inherit, and what they die with."""

import asyncio
import ctypes
import os
import stat
import sys
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from common.domain import BigInt, Fault, Survey, Whole
from factor_worker.slots import child, compute, forkserver
from factor_worker.slots.child import KEPT_ENVIRONMENT
from factor_worker.slots.errors import UnitFailed
from factor_worker.slots.slot import Slot
from tests import waiting
from tests.worker.children import GENEROUS, HARD, child_of, linux_only, until_busy
from tests.worker.probes import descriptors, look, probe

ROOT = Path(__file__).parents[2]

WORKER = f"""
import asyncio, sys
from common.domain import BigInt, Whole
from factor_worker.slots import forkserver
from factor_worker.slots.child import ChildLimits
from factor_worker.slots.slot import Slot

async def main():
    forkserver.TARGET = sys.argv[1]
    slot = Slot(ChildLimits(600, 1024 << 20))
    await slot.start()
    print(slot._child.pid, flush=True)
    await slot.compute(Whole(BigInt({HARD})))

if __name__ == "__main__":
    asyncio.run(main())
"""


@linux_only
async def test_the_fork_server_has_loaded_what_its_children_need(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise every child would load everything again."""
    program, loaded = await look(monkeypatch, what_is_loaded)

    assert program == forkserver.PROGRAM
    assert loaded


@probe(early=True)
def what_is_loaded() -> object:
    """Return the program of the process that this one was forked from, and whether it had loaded numba."""
    return sys.modules["__main__"].__spec__.name, "numba" in sys.modules  # type: ignore[union-attr]


@linux_only
async def test_a_child_holds_its_channel_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the server's descriptors it has none, and of its siblings' neither."""
    neighbour = Slot(GENEROUS)
    await neighbour.start()
    held = await look(monkeypatch, kinds_of_descriptors)
    await neighbour.close()

    assert ["socket"] == held


@probe()
def kinds_of_descriptors() -> object:
    """Return the kinds of the descriptors above the standard streams."""
    modes = [os.fstat(one).st_mode for one in descriptors() if one > 2]
    return ["socket" if stat.S_ISSOCK(mode) else oct(mode) for mode in modes]


async def test_where_nothing_is_forked_a_child_loads_everything_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on macOS: it computes, its death is a crash, and the next unit gets another one."""
    monkeypatch.setattr(forkserver, "FORKED", False)
    slot = Slot(GENEROUS)
    try:
        assert (await slot.compute(Survey(BigInt(15)))).pieces
        computing = asyncio.create_task(slot.compute(Whole(HARD)))
        await until_busy(slot)
        assert child_of(slot).parent() == psutil.Process()
        child_of(slot).kill()
        with pytest.raises(UnitFailed, match="SIGKILL"):
            await computing
        assert (await slot.compute(Survey(BigInt(15)))).pieces
    finally:
        await slot.close()


def outlive(*args: Any, **named: Any) -> None:
    """Be a child that takes back its wish to die with its parent, as one may that was taken over."""
    perform = compute.perform

    def unbind_and_perform(*work: Any) -> compute.Result:
        ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
        return perform(*work)

    compute.perform = cast("Any", unbind_and_perform)
    child.serve(*args, **named)


@linux_only
@pytest.mark.parametrize("target", [forkserver.TARGET, f"{__name__}:outlive"])
async def test_a_busy_child_dies_with_its_worker(tmp_path: Path, target: str) -> None:
    """After SIGKILL of the worker, nobody computes what nobody will receive."""
    program = tmp_path / "worker.py"
    program.write_text(WORKER)
    worker = await asyncio.create_subprocess_exec(
        sys.executable,
        program,
        target,
        stdout=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert worker.stdout is not None
    busy = psutil.Process(int(await worker.stdout.readline()))
    server = busy.parent()
    assert server is not None
    begun = busy.cpu_times().user
    await waiting.until(lambda: busy.cpu_times().user > begun + 0.3, "a busy child")
    worker.kill()
    await worker.wait()

    await asyncio.to_thread(psutil.wait_procs, [busy, server], timeout=5)
    assert not busy.is_running()
    assert not server.is_running()
    await worker.communicate()  # closes the pipe that they all held


@linux_only
async def test_a_child_dies_with_its_fork_server(slot: Slot) -> None:
    """If it was busy that is a crash, and the next child comes from a new server."""
    computing = asyncio.create_task(slot.compute(Whole(HARD)))
    await until_busy(slot)
    server = child_of(slot).parent()
    assert server is not None
    assert server.parent() == psutil.Process()
    server.kill()
    with pytest.raises(UnitFailed) as caught:
        await computing

    assert caught.value.failure.fault is Fault.CRASH
    assert (await slot.compute(Survey(BigInt(15)))).pieces
    assert child_of(slot).parent() != server


@linux_only
async def test_the_event_loop_goes_on_while_a_new_fork_server_loads(slot: Slot) -> None:
    """A child that died while idle is noticed at the next unit, and replacing it blocks nobody."""
    server = child_of(slot).parent()
    assert server is not None
    idle = child_of(slot)
    server.kill()
    await waiting.until(lambda: not idle.is_running(), "the end of the child")
    computing = asyncio.create_task(slot.compute(Survey(BigInt(15))))
    turns = 0
    while not computing.done():
        await asyncio.sleep(0.01)
        turns += 1

    assert (await computing).pieces
    assert turns > 20  # there were two or three when the loop waited for the server


@linux_only
@pytest.mark.parametrize(("niceness", "policy"), [(0, "SCHED_OTHER"), (5, "SCHED_BATCH")])
async def test_a_nice_child_interrupts_nobody(niceness: int, policy: str) -> None:
    """The kernel treats it as a batch process, so whoever hands it work goes on."""
    slot = Slot(GENEROUS._replace(niceness=niceness))
    try:
        await slot.start()
        assert getattr(os, policy) == os.sched_getscheduler(child_of(slot).pid)
    finally:
        await slot.close()


async def test_a_child_sees_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker's environment, pytest's own variables included, stays with the worker."""
    names = await look(monkeypatch, names_in_environment)

    assert "PYTEST_CURRENT_TEST" in os.environ
    assert set(KEPT_ENVIRONMENT) >= set(names)


@probe()
def names_in_environment() -> object:
    """Return the names of the variables."""
    return list(os.environ)


def test_the_fork_server_is_given_no_secret() -> None:
    """What a process was started with can be read as long as it lives, whatever it deletes."""
    environ = {
        "PATH": "/bin",
        "NUMBA_CACHE_DIR": "/kernels",
        "FACTORLINE_MONGODB_URI": "mongodb://u:p@h",
        "OTEL_EXPORTER_OTLP_HEADERS": "api-key=secret",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }

    assert {"PATH", "NUMBA_CACHE_DIR", "PYTHONPATH"} == forkserver.environment(environ).keys()
