"""What happens inside a child process: it is made safe, computes, and reports its progress."""

import contextlib
import ctypes
import fcntl
import gc
import mmap
import os
import resource
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Literal, NamedTuple

from common.domain import Solving, Work
from common.runtime import failpoints
from factor_worker.engine import verify
from factor_worker.slots import compute, confinement, forkserver, messages

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
MOST_DESCRIPTORS = 64
"""A child has four, and GMP-ECM takes a few more."""
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


class Shared:
    """Memory that a child shares with its worker, without a lock: one writes, the other reads."""

    _PROGRESS = len(Solving.__struct_fields__)
    _BYTES = 8 * (_PROGRESS + 1)

    def __init__(self, descriptor: int) -> None:
        """Map what `make` has made, and close the descriptor."""
        with open(descriptor, "r+b") as file:
            self._memory = mmap.mmap(file.fileno(), self._BYTES)
        self._words = memoryview(self._memory).cast("q")

    @classmethod
    def make(cls) -> int:
        """Return the descriptor of new memory, all zeros."""
        if sys.platform != "linux":
            with tempfile.TemporaryFile() as file:
                file.truncate(cls._BYTES)
                return os.dup(file.fileno())
        descriptor = os.memfd_create("factorline-slot", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.truncate(descriptor, cls._BYTES)
        # Otherwise a child could shorten it, and reading the rest would kill the worker.
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
        return descriptor

    @property
    def progress(self) -> list[int]:
        """Written by the child during a solve unit: the stage's place in `STAGES`, rows, done, of."""
        return self._words[: self._PROGRESS].tolist()

    @progress.setter
    def progress(self, values: list[int]) -> None:
        for place, value in enumerate(values):
            self._words[place] = value

    @property
    def stopping(self) -> bool:
        """Set by the worker to have the unit end early: a new child would have to build its tables again."""
        return bool(self._words[self._PROGRESS])

    @stopping.setter
    def stopping(self, value: bool) -> None:
        self._words[self._PROGRESS] = value


_shared: Shared | None = None
"""In a child: what it shares with its worker."""


def serve(
    channel: socket.socket,
    shared: Shared,
    limits: ChildLimits,
    *,
    worker: int,
    slowness: float,
) -> None:
    """Report that the child is ready, then compute whatever the worker asks for, until it hangs up.

    Args:
        channel: This end of the channel to the worker, see `factor_worker.slots.messages`.
        shared: The memory that the child shares with its worker.
        limits: What the child may take.
        worker: The process id of the worker.
        slowness: This machine's, to be passed on to the worker.

    """
    global _shared  # noqa: PLW0603 a child has one worker
    _shared = shared
    failpoints.parent = worker
    _prepare(channel, limits)
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
        _shared.progress = [stage, solving.rows, solving.done, max(solving.of, 1)]


def _is_stopped() -> bool:
    return _shared is not None and _shared.stopping


def _prepare(channel: socket.socket, limits: ChildLimits) -> None:
    """Make a new child safe to run hostile numbers in."""
    _lower_priority(limits.niceness)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the worker
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # native code never returns to a Python handler
    if forkserver.FORKED:
        _die_with_server(channel)
        # A backstop for one huge allocation; the worker's own watch sees gradual growth first.
        _limit(resource.RLIMIT_AS, limits.memory_bytes + SPARE_ADDRESS_SPACE_BYTES)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, MOST_DESCRIPTORS)
    _limit(resource.RLIMIT_FSIZE, 0)  # no file grows
    _hush()
    confinement.confine()
    for name in os.environ.keys() - {*KEPT_ENVIRONMENT}:
        del os.environ[name]
    gc.freeze()


def _hush() -> None:
    """Let go of the worker's log: it could be filled, and lines of it forged."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in _STANDARD_STREAMS:
        os.dup2(nowhere, stream)
    os.close(nowhere)


def _limit(what: int, most: int) -> None:
    """Set a limit, unless a lower one holds already."""
    _, hard = resource.getrlimit(what)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))


def _die_with_server(channel: socket.socket) -> None:
    """Have the kernel kill this process when the fork server ends, and keep nothing of the server's."""
    server = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for descriptor in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
        if descriptor not in {*_STANDARD_STREAMS, channel.fileno()}:
            with contextlib.suppress(OSError):  # the one that the folder was listed through
                os.close(descriptor)
    if os.getppid() != server or server == 1:  # it ended before the call above
        os._exit(1)


def _lower_priority(niceness: int) -> None:
    os.nice(niceness)
    if niceness and sys.platform == "linux":
        # A batch process does not interrupt whoever hands it work. SCHED_IDLE would go too far: next to
        # a program that keeps its core busy, a unit of seconds would run out of time.
        with contextlib.suppress(PermissionError):  # some sandboxes
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
