"""What happens inside a child process: it is made safe, computes, and reports its progress."""

import contextlib
import ctypes
import gc
import os
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import Literal, NamedTuple

from common.domain import Solving, Work
from common.runtime import failpoints
from factor_worker.engine import verify
from factor_worker.slots import compute, forkserver, messages

KEPT_ENVIRONMENT = (
    "PATH",
    "HOME",
    "LANG",
    "TMPDIR",
    "NUMBA_CACHE_DIR",
    "NUMBA_CPU_NAME",
    "NUMBA_CPU_FEATURES",
)
"""All that a child keeps of its worker's environment: nothing that could be a secret."""
SPARE_ADDRESS_SPACE_BYTES = 4 << 30
"""Address space allowed beyond the memory limit: a program never touches most of what it maps."""
STAGES = ("verify", "filter", "matrix", "square root")
"""The stages of a solve unit. Progress reports name them by their place in this list."""
_STANDARD_STREAMS = frozenset({0, 1, 2})
_PR_SET_PDEATHSIG = 1  # prctl(2)


class ChildLimits(NamedTuple):
    """What a child process may take."""

    unit_seconds: float
    """Wall-clock time of one unit."""
    memory_bytes: int
    """Resident memory."""
    niceness: int = 0
    """Added to the worker's own, so that the child yields the processor to others."""


class Shared(NamedTuple):
    """Memory that a child shares with its worker, without a lock: one writes, the other reads."""

    progress: "ctypes.Array[ctypes.c_int64]"
    """Written by the child during a solve unit: the stage's place in `STAGES`, rows, done, of."""
    stop_flag: ctypes.c_byte
    """Set by the worker to have the unit end early: a new child would have to build its tables again."""


_shared: Shared | None = None
"""In a child: what it shares with its worker."""


def serve(
    channel: socket.socket,
    shared: Shared,
    limits: ChildLimits,
    *,
    server_pid: int,
    slowness: float,
) -> None:
    """Report that the child is ready, then compute whatever the worker asks for, until it hangs up.

    Args:
        channel: This end of the channel to the worker, see `factor_worker.slots.messages`.
        shared: The memory that the child shares with its worker.
        limits: What the child may take.
        server_pid: The fork server, whose end must end the child too.
        slowness: This machine's, to be passed on to the worker.

    """
    global _shared  # noqa: PLW0603 a child has one worker
    _shared = shared
    _prepare(channel, limits, server_pid)
    with channel, channel.makefile("rwb") as stream, contextlib.suppress(ConnectionError):
        stream.write(messages.frame(messages.Greeting(slowness)))
        stream.flush()
        while length := stream.read(messages.LENGTH.size):
            [size] = messages.LENGTH.unpack(length)
            question = messages.read_question(stream.read(size))
            for work in question.works:
                stream.write(messages.frame(_answer(work, question.batches, limits)))
            del question  # an idle child keeps nothing of it
            stream.flush()


def _answer(work: Work, batches: compute.StoredBatches, limits: ChildLimits) -> messages.Answer:
    """Compute one piece of work; return its result, or what was raised."""
    before = compute.cpu_seconds()
    try:
        failpoints.hit("child.unit", work.target)
        return compute.perform(work, batches, _report, _is_stopped)
    except Exception as error:  # noqa: BLE001 whatever it is, the worker must be told
        fault, detail = _described(error, limits)
        spent = compute.cpu_seconds() - before
        return messages.Raised(fault, detail[: messages.LONGEST_DETAIL], spent)


def _described(
    error: Exception, limits: ChildLimits
) -> tuple[Literal["crash", "memory", "wrong"], str]:
    match error:
        case MemoryError():
            return "memory", f"more than {limits.memory_bytes >> 20} MiB"
        case verify.WrongDecomposition():
            return "wrong", str(error)
        case _:
            return "crash", f"{type(error).__name__}: {error}"


def _report(solving: Solving) -> None:
    if _shared is not None:
        stage = STAGES.index(solving.stage)
        _shared.progress[:] = [stage, solving.rows, solving.done, max(solving.of, 1)]


def _is_stopped() -> bool:
    return _shared is not None and bool(_shared.stop_flag.value)


def _prepare(channel: socket.socket, limits: ChildLimits, server_pid: int) -> None:
    """Make a new child safe to run hostile numbers in."""
    _lower_priority(limits.niceness)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the worker
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # native code never returns to a Python handler
    for name in os.environ.keys() - {*KEPT_ENVIRONMENT}:
        del os.environ[name]
    if forkserver.FORKED:
        _die_with_server(channel, server_pid)
        # A backstop for one huge allocation; the worker's own watch sees gradual growth first.
        limit = limits.memory_bytes + SPARE_ADDRESS_SPACE_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    gc.freeze()


def _die_with_server(channel: socket.socket, server_pid: int) -> None:
    """Have the kernel kill this process when the fork server ends, and do not keep the server alive.

    The server ends when the last copy of a certain pipe is closed: that is how it notices that its
    worker has died. `multiprocessing` hands every child a copy, for children of its own. Since a child
    has none, it closes everything that it was handed except its channel.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for descriptor in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
        if descriptor not in {*_STANDARD_STREAMS, channel.fileno()}:
            with contextlib.suppress(OSError):  # the one that the folder was listed through
                os.close(descriptor)
    if os.getppid() != server_pid:  # it ended before the call above
        os._exit(1)


def _lower_priority(niceness: int) -> None:
    os.nice(niceness)
    if niceness and sys.platform == "linux":
        # A batch process does not interrupt whoever hands it work. SCHED_IDLE would go too far: next to
        # a program that keeps its core busy, a unit of seconds would run out of time.
        with contextlib.suppress(PermissionError):  # some sandboxes
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
