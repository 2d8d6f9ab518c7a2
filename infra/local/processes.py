"""Starts, awaits, stops and kills server processes, and leaves none behind.

Everything here polls instead of using asyncio's child watchers, so that a handle works from any event
loop: a test may kill a server that a session fixture started.
"""

import asyncio
import contextlib
import fcntl
import functools
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

from common import errors

TETHER = Path(__file__).with_name("tether.py")
POLL_SECONDS = 0.05
REPLY_SECONDS = 2.0
LOG_LINES_SHOWN = 15

PORTS = range(20_000, 30_000)
"""Below the ephemeral range, so that the port of a killed server is still free when it starts again."""

SBIN = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")
"""Where servers are installed; an ordinary user's PATH often leaves these out."""


class NotInstalled(errors.FactorlineError):
    """A program that is needed is not installed on this machine."""

    def __init__(self, *, name: str, how: str) -> None:
        super().__init__(f"{name} is not installed. {how}.")


class NoFreePort(errors.FactorlineError):
    """Every port that servers may get is taken."""

    def __init__(self, ports: Sequence[int]) -> None:
        super().__init__(
            f"No port from {ports[0]} to {ports[-1]} is free: stop a server that uses one."
        )


class ProcessFailed(errors.FactorlineError):
    """A process of ours did not start, or ended by itself."""

    def __init__(self, *, name: str, happened: str, log: Path, tail: str) -> None:
        super().__init__(f"{name} {happened}. Its log, {log}, ends with: {tail}")


def find_program(name: str, *, how: str, first: Sequence[str] = ()) -> str:
    """Return the path of an installed program.

    Args:
        name: The name of the program.
        how: How to install it: a sentence for the error, without its full stop.
        first: Folders to search before PATH.

    Raises:
        NotInstalled: It was not found.

    """
    path = os.pathsep.join((*first, os.environ.get("PATH", ""), *SBIN))
    if found := shutil.which(name, path=path):
        return found
    raise NotInstalled(name=name, how=how)


@functools.cache
def _claims() -> int:
    """Return the descriptor of a file in which a lock on byte N is a claim on port N."""
    path = Path(tempfile.gettempdir()) / f"factorline-ports-{os.getuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


_claimed: set[int] = set()


def _claim(port: int) -> bool:
    """Claim a port for this process until it ends; return whether the port was free.

    A server binds its port long after it was given one. Until then only the claim keeps the port from
    being given to another server, of this process or of a test that runs beside it.
    """
    if port in _claimed:  # a process does not block its own locks
        return False
    try:
        fcntl.lockf(_claims(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _claimed.add(port)
    with contextlib.suppress(OSError), socket.socket() as probe:
        probe.bind(("127.0.0.1", port))
        return True
    return False


def free_ports(count: int) -> list[int]:
    """Return distinct loopback ports that are free, and that no other caller gets.

    Raises:
        NoFreePort: There are not that many.

    """
    free = filter(_claim, random.sample(PORTS, len(PORTS)))
    found = list(itertools.islice(free, count))
    if len(found) < count:
        raise NoFreePort(PORTS)
    return found


async def replies(port: int, opening: bytes) -> bool:
    """Return whether a server on loopback answers these first bytes of a protocol with anything at all."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(REPLY_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(opening)
                return bool(await reader.read(1))
            finally:
                writer.close()
                await writer.wait_closed()
    return False


class Process:
    """One server in a process group of its own, with its output in a file.

    On Linux it dies with this process, even if that is killed. Subclasses define when it is `ready`.
    """

    ready_seconds = 60.0

    def __init__(
        self, name: str, command: Sequence[str], *, folder: Path, env: Mapping[str, str]
    ) -> None:
        self.name = name
        self.command = list(command)
        self.folder = folder
        self.env = dict(env)
        self.log = folder / f"{name}.log"
        self._child: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        """Name the process and its state."""
        return f"<{type(self).__name__} {self.name} pid={self.pid} running={self.running}>"

    @property
    def pid(self) -> int | None:
        """The process id, kept after the end; None before the first start."""
        return self._child.pid if self._child else None

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._child is not None and self._child.poll() is None

    async def ready(self) -> bool:
        """Return whether it serves. A plain process does as soon as it runs."""
        return True

    def spawn(self) -> None:
        """Start the process, without waiting until it serves."""
        if self.running:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        tethered = [sys.executable, "-I", "-S", str(TETHER), str(os.getpid()), *self.command]
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                tethered,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches only us, so that we stop the servers in order
            )

    async def start(self) -> None:
        """Start the process and return when it serves.

        Raises:
            ProcessFailed: It ended, or did not serve within `ready_seconds`. Shows the end of its log.

        """
        self.spawn()
        try:
            async with asyncio.timeout(self.ready_seconds):
                while self.require_running() and not await self.ready():
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise self._failure(f"was not ready within {self.ready_seconds:.0f} s") from None

    def require_running(self) -> bool:
        """Return True, or raise `ProcessFailed` if the process has ended."""
        if not self.running:
            status = self._child.returncode if self._child else "never started"
            raise self._failure(f"ended by itself (status {status})")
        return True

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process itself, not to its children."""
        if self._child is not None:
            self._child.send_signal(number)

    def kill(self) -> None:
        """Kill the process at once, as a crash would; its children live on."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def kill_group(self) -> None:
        """Kill the process and all that it has started."""
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()

    async def ended(self) -> None:
        """Return when the process has ended."""
        while self.running:
            await asyncio.sleep(POLL_SECONDS)

    async def stop(self, *, grace_seconds: float = 20.0) -> None:
        """Ask the process to end; after the grace period, kill it and what is left of its group."""
        if self._child is None or not self.running:
            return
        self.signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
                await self.ended()
        self.kill_group()

    async def __aenter__(self) -> Self:
        """Start the process; if that fails, nothing of it is left running."""
        try:
            await self.start()
        except BaseException:
            await self.stop(grace_seconds=0)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop the process."""
        await self.stop()

    def _failure(self, happened: str) -> ProcessFailed:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        tail = "".join(f"\n    {line}" for line in lines[-LOG_LINES_SHOWN:]) or "nothing"
        return ProcessFailed(name=self.name, happened=happened, log=self.log, tail=tail)


async def stop_all(processes: Iterable[Process]) -> None:
    """Stop processes that do not depend on one another, all at the same time."""
    await asyncio.gather(*(process.stop() for process in processes))
