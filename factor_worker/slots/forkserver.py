"""Where child processes come from: a fork server, which has loaded what they compute with.

Theory of operation. A program starts the server before it imports anything else, so that both load at the
same time. Server and worker share a pair of sockets and nothing else: no name in the file system, and no
environment that could contain a secret. Through it the worker sends a `Birth` with three descriptors: the
child's end of the channel, the memory that it shares with its worker, and a pipe. The server forks, and
answers with the child's process id and a descriptor of the process (pidfd). It writes into the pipe how the
child has ended. When the worker dies, the kernel closes the sockets; the server ends, and its children with
it.

The server's side is `factor_worker.slots.preload`. On systems other than Linux there is no server: each child
loads by itself what it needs, because macOS's libraries do not survive a fork. It is started in the same way,
and becomes the child that it is asked for.
"""

import atexit
import contextlib
import math
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Final, Protocol

import msgspec

from common.runtime import failpoints

FORKED = sys.platform == "linux"
"""Whether children are forked."""
PROGRAM: Final = "factor_worker.slots.preload"
"""By name, because a worker's own process must not load the kernels."""
TARGET = "factor_worker.slots.child:serve"
"""What runs in a child."""
KEPT_ENVIRONMENT: Final = ("PATH", "HOME", "LANG", "TMPDIR", failpoints.VARIABLE)
KEPT_PREFIXES: Final = ("PYTHON", "NUMBA_", "LC_", "LD_", "DYLD_")
"""All of the environment that the server is given: nothing that could be a secret."""
EXIT: Final = struct.Struct("!i")
"""How a child has ended, as `subprocess` says it: its status, or minus the signal that killed it."""


class Birth(msgspec.Struct, frozen=True):
    """What the server is asked for."""

    target: str
    """What runs in the child: ``module:function``."""
    limits: tuple[float, int, int]
    """See `factor_worker.slots.child.ChildLimits`."""


class Process(Protocol):
    """A process that was started, alive or not."""

    @property
    def pid(self) -> int:
        """Its id, which may belong to another process once this one has ended."""

    def kill(self) -> None:
        """End it at once, and nobody else if it has ended by itself."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; return its status, or minus the signal that killed it.

        Raises:
            subprocess.TimeoutExpired: It still runs.

        """


class Forked:
    """A child of the server."""

    def __init__(self, pid: int, pidfd: int | None, ended: int) -> None:
        self.pid = pid
        self._pidfd = pidfd
        self._ended = ended
        self._code: int | None = None

    def kill(self) -> None:
        """Send SIGKILL: a process that is stopped, or in native code, would not react to SIGTERM."""
        with contextlib.suppress(ProcessLookupError):
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)  # type: ignore[attr-defined, unused-ignore]
            elif not select.select([self._ended], [], [], 0)[
                0
            ]:  # an old kernel; the server has not reaped it
                os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for what the server says of its end; a server that has died says nothing, and kills."""
        if self._code is None:
            if not self._has_ended(timeout):
                raise subprocess.TimeoutExpired(TARGET, timeout or 0.0)
            said = os.read(self._ended, EXIT.size)
            self._code = EXIT.unpack(said)[0] if len(said) == EXIT.size else -signal.SIGKILL
        return self._code

    def _has_ended(self, seconds: float | None) -> bool:
        """Return whether the server has said how it has ended, after so many seconds at most."""
        poll = select.poll()  # select takes no descriptor above 1023
        poll.register(self._ended, select.POLLIN)
        return bool(poll.poll(None if seconds is None else math.ceil(1000 * seconds)))

    def __del__(self) -> None:
        """Close what belongs to the process."""
        for descriptor in (self._pidfd, self._ended):
            if descriptor is not None:
                os.close(descriptor)


class Spawned(subprocess.Popen[bytes]):
    """A process of its own."""

    def kill(self) -> None:
        """Send SIGKILL, and see the process end."""
        super().kill()
        self.wait()


class _Server:
    """The process that loads everything, and the worker's end of the sockets to it."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        mode = "fork" if FORKED else "become"
        command = [sys.executable, "-P", "-m", PROGRAM, str(theirs.fileno()), mode]
        with theirs:
            self.process = Spawned(
                command,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=environment(os.environ),
            )

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def send(self, birth: Birth, descriptors: list[int]) -> None:
        socket.send_fds(self._control, [msgspec.msgpack.encode(birth)], descriptors)

    def ask(self, birth: Birth, descriptors: list[int]) -> tuple[int, int | None]:
        """Have a child born; return its process id and its pidfd, if the kernel has those.

        Raises:
            OSError, EOFError: The server has died, or the machine has no room for a process.

        """
        self.send(birth, descriptors)
        said, received, _, _ = socket.recv_fds(self._control, EXIT.size, 1)
        if not said:
            raise EOFError("the fork server has died")
        [pid] = EXIT.unpack(said)
        if pid <= 0:
            raise OSError(-pid, os.strerror(-pid))
        return pid, received[0] if received else None

    def close(self) -> None:
        """Hang up, so that the server ends."""
        self._control.close()

    def end(self) -> None:
        """End the server, and its children with it."""
        self.close()
        self.process.kill()


_server: _Server | None = None
_asking = threading.Lock()


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what the server is given of an environment: it can be read as long as the server lives."""
    kept = {
        name: value
        for name, value in environ.items()
        if name in KEPT_ENVIRONMENT or name.startswith(KEPT_PREFIXES)
    }
    return {**kept, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}


def begin() -> None:
    """Start the server unless it is running, and do not wait until it is ready. It is given no secret."""
    if FORKED:
        with _asking:
            _running_server()


def _running_server() -> _Server:
    global _server  # noqa: PLW0603 a program has one
    if _server is None or not _server.alive:
        if _server is not None:
            _server.close()
        _server = _Server()
        atexit.register(_server.end)
    return _server


def launch(channel: socket.socket, shared: int, limits: tuple[float, int, int]) -> Process:
    """Start a child process; blocks until the server has loaded, the first time.

    Args:
        channel: The child's end of the channel to its worker, which is closed here.
        shared: The descriptor of the memory that both share.
        limits: What the child may take.

    Raises:
        OSError, EOFError: The machine, or the fork server, gives us no process.

    """
    birth = Birth(TARGET, limits)
    with channel:
        if FORKED:
            return _fork(birth, channel, shared)
        server = _Server()
        server.send(birth, [channel.fileno(), shared])
        server.close()
        return server.process


def _fork(birth: Birth, channel: socket.socket, shared: int) -> Forked:
    ours, theirs = os.pipe()
    try:
        with _asking:
            pid, pidfd = _running_server().ask(birth, [channel.fileno(), shared, theirs])
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    return Forked(pid, pidfd, ours)
