"""What happens inside a child process: it is made safe, computes, and says how far it is."""

import contextlib
import ctypes
import gc
import os
import pickle
import resource
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from multiprocessing import forkserver as standard
from typing import NamedTuple

from common.domain import Solving, Work
from common.runtime import failpoints
from factor_worker.slots import compute, forkserver, process

KEPT_ENVIRONMENT = (
    "PATH",
    "HOME",
    "LANG",
    "TMPDIR",
    "NUMBA_CACHE_DIR",
    "NUMBA_CPU_NAME",
    "NUMBA_CPU_FEATURES",
)
"""All that a child sees of its worker's environment: nothing that could be a secret."""
ADDRESS_SPACE_SPARE_BYTES = 4 << 30
"""Address space beyond the memory limit: most of what a program maps it never touches."""
STAGES = ("verify", "filter", "matrix", "square root")
"""Of solving; they cross between processes as numbers."""
_PR_SET_PDEATHSIG = 1  # prctl(2)


class Limits(NamedTuple):
    """What a child may take."""

    unit_seconds: float
    memory_bytes: int
    niceness: int = 0
    """Added to the worker's own: a polite child steps back for others."""


_reported: "ctypes.Array[ctypes.c_int64] | None" = None
"""In a child: where it says how far it is."""
_asked_to_stop: ctypes.c_byte | None = None
"""In a child: where it looks whether to end its unit."""


def serve(
    end: socket.socket,
    reported: "ctypes.Array[ctypes.c_int64]",
    asked_to_stop: ctypes.c_byte,
    limits: Limits,
) -> None:
    """Say that the child is ready and how slow the machine is, then call whatever the worker asks for.

    It ends when the worker closes its end of the channel, see `factor_worker.slots.process`.
    """
    from factor_worker.slots import preload  # noqa: PLC0415 it imports this module, and is there if forked

    _prepare(preload.SERVER, reported, asked_to_stop, limits)
    with end, end.makefile("rwb") as stream, contextlib.suppress(ConnectionError):
        stream.write(process.pack((True, preload.SLOWNESS)))
        stream.flush()
        while length := stream.read(process.LENGTH.size):
            [size] = process.LENGTH.unpack(length)
            stream.write(_answer(*pickle.loads(stream.read(size))))  # noqa: S301 from our own worker
            stream.flush()


def _answer(function: Callable[..., object], args: tuple[object, ...]) -> bytes:
    """Call a function; return what comes of it as it is sent. Nothing of it stays with an idle child."""
    try:
        return process.pack((True, function(*args)))
    except Exception as error:  # noqa: BLE001 whatever it is, the worker has to hear of it
        return _told(error)


def _told(error: Exception) -> bytes:
    """Return an error as an answer, in words if it cannot be sent as it is."""
    try:
        packed = process.pack((False, error))
        pickle.loads(packed[process.LENGTH.size :])  # noqa: S301 some can be written and not read
    except Exception as problem:  # noqa: BLE001 whatever it is, the error has to be told
        return process.pack((False, RuntimeError(f"{error!r} cannot be sent: {problem!r}")))
    return packed


def run(work: Work, batches: compute.StoredBatches) -> compute.Result:
    """Compute a piece of work; raise what it raises."""
    failpoints.hit("child.unit", work.target)
    return compute.run(work, batches, _report, _stopped)


def run_all(works: Sequence[Work]) -> list[compute.Result | Exception]:
    """Compute each; what one raises is its result."""
    results: list[compute.Result | Exception] = []
    for work in works:
        try:
            results.append(run(work, ()))
        except Exception as error:  # noqa: BLE001 whatever it is, it belongs to this one
            results.append(error)
    return results


def _report(solving: Solving) -> None:
    if _reported is not None:
        stage = STAGES.index(solving.stage)
        _reported[:] = [stage, solving.rows, solving.done, max(solving.of, 1)]


def _stopped() -> bool:
    return _asked_to_stop is not None and bool(_asked_to_stop.value)


def _prepare(
    server: int,
    reported: "ctypes.Array[ctypes.c_int64]",
    asked_to_stop: ctypes.c_byte,
    limits: Limits,
) -> None:
    """Make a fresh child safe to run hostile numbers in."""
    global _reported, _asked_to_stop
    _reported, _asked_to_stop = reported, asked_to_stop
    _step_back(limits.niceness)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the worker
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # native code never returns to a Python handler
    for name in os.environ.keys() - {*KEPT_ENVIRONMENT}:
        del os.environ[name]
    if forkserver.FORKED:
        # The server ends when nobody holds its pipe any more, and we end with the server.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.close(standard._forkserver._forkserver_alive_fd)  # type: ignore[attr-defined]  # noqa: SLF001 and a child holds it, for children of its own
        if os.getppid() != server:  # it died before the call above
            os._exit(1)
        # A backstop for one huge allocation; the worker's own watch sees gradual growth first.
        most = limits.memory_bytes + ADDRESS_SPACE_SPARE_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    gc.freeze()


def _step_back(niceness: int) -> None:
    os.nice(niceness)
    if niceness and sys.platform == "linux":
        # Whoever hands us work is not interrupted by it. And not SCHED_IDLE: beside a program that
        # keeps its core busy a unit of seconds would not be done within its time.
        with contextlib.suppress(PermissionError):  # some sandboxes
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
