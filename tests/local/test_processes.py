"""Processes are started, explained when they fail, and never left behind."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from infra.local import processes
from infra.local.processes import (
    NoFreePort,
    Process,
    ProcessFailed,
    find_program,
    free_ports,
)
from infra.local.programs import Program
from tests import waiting

FOREVER = "import signal; signal.pause()"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True)"


def python(code: str, folder: Path) -> Process:
    """Return a process that runs some Python."""
    return Process("child", [sys.executable, "-c", code], folder=folder, env=os.environ)


class NeverReady(Process):
    """A process that never becomes ready."""

    ready_seconds = 0.2

    async def ready(self) -> bool:
        """Return False."""
        return False


async def test_a_process_that_dies_at_once_shows_its_last_words(tmp_path: Path) -> None:
    """The error has its exit status and the end of its log."""
    child = python("import sys; sys.exit('no such port')", tmp_path)
    child.spawn()
    await child.ended()

    with pytest.raises(ProcessFailed, match=r"(?s)status 1.*no such port"):
        child.require_running()


async def test_a_process_that_is_never_ready_is_not_left_behind(tmp_path: Path) -> None:
    """Starting it fails, saying how long it was given, and the process is gone."""
    child = NeverReady("child", [sys.executable, "-c", FOREVER], folder=tmp_path, env=os.environ)

    with pytest.raises(ProcessFailed, match=r"not ready within 0 s"):
        await child.__aenter__()
    assert not child.running


async def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    """It is killed once its grace period is over."""
    child = python(f"{STUBBORN}\nwhile True: signal.pause()", tmp_path)
    await child.start()
    await waiting.until(lambda: "deaf" in child.log.read_text(), "the handler")
    await child.stop(grace_seconds=0.1)

    assert not child.running


async def test_children_of_a_stopped_process_end_too(tmp_path: Path) -> None:
    """The whole process group ends, including children that their parent has forgotten."""
    code = "import subprocess; print(subprocess.Popen(['sleep', '600']).pid, flush=True)"
    child = python(f"{code}\n{FOREVER}", tmp_path)
    await child.start()
    await waiting.until(lambda: child.log.read_text().endswith("\n"), "the grandchild")
    grandchild = int(child.log.read_text())
    await child.stop()

    await waiting.until(lambda: not _lives(grandchild), "the end of the grandchild")


@pytest.mark.skipif(sys.platform != "linux", reason="linux: other kernels have no such tie")
async def test_a_process_dies_with_its_parent(tmp_path: Path) -> None:
    """A server does not survive kill -9 of the process that started it."""
    code = f"""
import os, signal, sys
from pathlib import Path
from infra.local.processes import Process
child = Process("inner", [sys.executable, "-c", {FOREVER!r}], folder=Path({str(tmp_path)!r}),
                env=os.environ)
child.spawn()
print(child.pid, flush=True)
signal.pause()
"""
    parent = python(code, tmp_path)
    parent.env["PYTHONPATH"] = str(Path.cwd())
    await parent.start()
    await waiting.until(lambda: bool(re.search(r"\d\n", parent.log.read_text())), "the inner pid")
    inner = int(parent.log.read_text())
    assert _lives(inner)
    parent.kill()

    await waiting.until(lambda: not _lives(inner), "the end of the inner process")


async def test_a_frozen_process_goes_on_after_sigcont(tmp_path: Path) -> None:
    """SIGSTOP freezes a server without ending it, like a stalled machine."""
    async with python(FOREVER, tmp_path) as child:
        child.signal(signal.SIGSTOP)
        process = psutil.Process(child.pid)
        await waiting.until(lambda: process.status() == psutil.STATUS_STOPPED, "the freeze")

        assert child.running
        child.signal(signal.SIGCONT)
        await waiting.until(lambda: process.status() != psutil.STATUS_STOPPED, "the thaw")


def test_free_ports_are_distinct() -> None:
    """Ports that are requested together never collide."""
    assert 20 == len(set(free_ports(20)))


def test_a_claimed_port_is_not_given_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even while no server listens on it yet, and not to another process either."""
    ours = free_ports(4)
    monkeypatch.setattr(processes, "PORTS", ours)
    with pytest.raises(NoFreePort, match=f"No port from {ours[0]} to {ours[-1]} is free"):
        free_ports(1)

    asked = f"from infra.local import processes as p; p.PORTS = {ours}; p.free_ports(1)"
    other = subprocess.run(  # noqa: S603 our own interpreter
        [sys.executable, "-c", asked], capture_output=True, text=True, check=False
    )
    assert "NoFreePort" in other.stderr


async def test_a_program_of_another_checkout_is_run_with_its_own_python(tmp_path: Path) -> None:
    """Neither the working directory nor our packages come before those of the other checkout."""
    (tmp_path / "gateway").mkdir()
    (tmp_path / "gateway" / "__main__.py").write_text("import sys; print(sys.executable)")
    own_python = tmp_path / ".venv" / "bin" / "python"
    own_python.parent.mkdir(parents=True)
    own_python.symlink_to(sys.executable)
    program = Program("other", "gateway", folder=tmp_path, settings={})
    program.run_from(tmp_path)
    program.spawn()
    await program.ended()

    assert f"{own_python}\n" == program.log.read_text()


def test_a_missing_program_says_how_to_get_it() -> None:
    """The message is the instruction."""
    with pytest.raises(Exception, match=r"no-such-server is not installed\. Ask your mother"):
        find_program("no-such-server", how="Ask your mother")


def _lives(pid: int) -> bool:
    """Return whether a process runs; one that nobody has waited for yet counts as dead."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
