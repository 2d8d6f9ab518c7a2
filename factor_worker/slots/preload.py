"""The fork server: loads what every child process has from birth, and forks children when asked.

``python -m factor_worker.slots.preload DESCRIPTOR fork``, which `factor_worker.slots.forkserver` runs.
Loading the kernels takes a CPU second and 100 MB. This process has no threads, knows no secrets, and computes
nothing that comes from a stranger.
"""

import gc
import os

gc.disable()  # loading makes little garbage, and looking for it took a sixth of the time
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy: a process with threads must not be forked

import contextlib  # noqa: E402 after the lines above
import ctypes  # noqa: E402 after the lines above
import importlib  # noqa: E402 after the lines above
import select  # noqa: E402 after the lines above
import signal  # noqa: E402 after the lines above
import socket  # noqa: E402 after the lines above
import sys  # noqa: E402 after the lines above
import time  # noqa: E402 after the lines above
import traceback  # noqa: E402 after the lines above
from pathlib import Path  # noqa: E402 after the lines above
from typing import NoReturn  # noqa: E402 after the lines above

import msgspec  # noqa: E402 after the lines above

from common.runtime import privacy  # noqa: E402 after the lines above
from factor_worker.engine.siqs import warm  # noqa: E402 after the lines above
from factor_worker.slots import child, compute, forkserver  # noqa: E402 after the lines above

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
_LONGEST_BIRTH = 4096


class _Server:
    """Forks children, and says how they have ended."""

    def __init__(self, control: socket.socket, slowness: float) -> None:
        self._control = control
        self._slowness = slowness
        self._worker = os.getppid()
        self._reports: dict[int, int] = {}
        """By child, the pipe that is to say how it has ended."""

    def serve(self) -> None:
        """Serve until the worker has died."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the worker
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        wakeup, woken = os.pipe()
        os.set_blocking(wakeup, False)
        os.set_blocking(woken, False)
        signal.set_wakeup_fd(woken)
        # What a child leaves behind becomes a child of this process, which then ends it.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        while True:
            readable, _, _ = select.select([self._control.fileno(), wakeup], [], [])
            with contextlib.suppress(BlockingIOError):
                os.read(wakeup, 4096)
            self._reap()
            if self._control.fileno() in readable and not self._answer():
                break
        # A child may have taken back its wish to die with this process.
        while left := _children() | self._reports.keys():
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            while self._reap_one():
                pass
            time.sleep(0.01)

    def _answer(self) -> bool:
        """Fork a child for the next request; return whether there was one."""
        asked, descriptors, _, _ = socket.recv_fds(self._control, _LONGEST_BIRTH, 3)
        if not asked:
            return False
        channel, shared, report = descriptors
        try:
            pid = os.fork()
        except OSError as error:
            os.close(report)
            self._control.send(forkserver.EXIT.pack(-(error.errno or 1)))
        else:
            if pid == 0:
                self._become_child(asked, channel, shared)
            self._reports[pid] = report
            self._tell_birth(pid)
        os.close(channel)
        os.close(shared)
        return True

    def _become_child(self, asked: bytes, channel: int, shared: int) -> NoReturn:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        run_child(asked, channel, shared, self._slowness, self._worker)

    def _tell_birth(self, pid: int) -> None:
        pidfds = []
        with contextlib.suppress(OSError, AttributeError):  # Linux before 5.3
            pidfds = [os.pidfd_open(pid)]
        socket.send_fds(self._control, [forkserver.EXIT.pack(pid)], pidfds)
        for descriptor in pidfds:
            os.close(descriptor)

    def _reap(self) -> None:
        """Say of each child that has ended how, and end what it has left behind."""
        while self._reap_one():
            for pid in _children() - self._reports.keys():
                os.kill(pid, signal.SIGKILL)

    def _reap_one(self) -> bool:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if (report := self._reports.pop(pid, None)) is not None:
            with contextlib.suppress(BrokenPipeError):  # nobody wants to know
                os.write(report, forkserver.EXIT.pack(os.waitstatus_to_exitcode(status)))
            os.close(report)
        return pid != 0


def _children() -> set[int]:
    """Return the children of this process, also those that others have left behind."""
    try:
        text = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii")
    except OSError:  # a kernel without this file
        return set()
    return {int(pid) for pid in text.split()}


def run_child(asked: bytes, channel: int, shared: int, slowness: float, worker: int) -> NoReturn:
    """Be a child process until the worker hangs up."""
    status = 1
    try:
        birth = msgspec.msgpack.decode(asked, type=forkserver.Birth)
        module, _, function = birth.target.partition(":")
        serve = getattr(importlib.import_module(module), function)
        serve(
            socket.socket(fileno=channel),
            child.Shared(shared),
            child.ChildLimits(*birth.limits),
            worker=worker,
            slowness=slowness,
        )
        status = 0
    except BaseException:  # noqa: BLE001 this is where the process ends
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    """Load everything, then ``fork`` children for the worker at the socket's other end, or ``become`` one."""
    privacy.hide_memory()
    control = socket.socket(fileno=int(sys.argv[1]))
    warm.warm()
    slowness = compute.measure_slowness()
    gc.freeze()  # a collection would write to every page that the children share
    gc.enable()
    if sys.argv[2] == "fork":
        _Server(control, slowness).serve()
    else:
        asked, [channel, shared], _, _ = socket.recv_fds(control, _LONGEST_BIRTH, 2)
        control.close()
        run_child(asked, channel, shared, slowness, os.getppid())


if __name__ == "__main__":
    main()
