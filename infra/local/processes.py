"""Server processes that belong to us: started, awaited, killed, stopped, none left behind.

Everything here looks and waits a little instead of using asyncio's own child watching, so that a
handle works from any event loop: a test may kill a server that a session fixture started.
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
"""Below the ephemeral range, so that a server that was killed finds its port free again."""

SBIN = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")
"""Where servers are, and an ordinary user's PATH often is not."""


class NotInstalled(errors.FactorlineError):
    """A program or resource that a server needs is not on this machine."""

    def __init__(self, *, name: str, how: str) -> None:
        super().__init__(f"{name} is not installed: {how}.")


class ProcessFailed(errors.FactorlineError):
    """A process of ours did not start, or ended by itself."""

    def __init__(self, *, name: str, happened: str, log: Path, tail: str) -> None:
        super().__init__(f"{name} {happened}. Its log, {log}, ends with: {tail}")


def find_program(name: str, *, how: str, first: Sequence[str] = ()) -> str:
    """Return the path of an installed program; raise `NotInstalled`, saying how to get it."""
    path = os.pathsep.join((*first, os.environ.get("PATH", ""), *SBIN))
    if found := shutil.which(name, path=path):
        return found
    raise NotInstalled(name=name, how=how)


@functools.cache
def _claims() -> int:
    """Open the file whose bytes stand for the ports; a lock on one of them is a claim."""
    path = Path(tempfile.gettempdir()) / f"factorline-ports-{os.getuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


_claimed: set[int] = set()


def _claim(port: int) -> bool:
    """Return whether a port is free and now ours, among all who ask here, until we end.

    A server takes its port long after it was given one; until then only a claim keeps it from
    being given to another server, of this process or of a test that runs beside it.
    """
    if port in _claimed:  # locks of one process do not exclude each other
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
    """Return distinct loopback ports that nobody listens on, and that nobody else is given."""
    free = filter(_claim, random.sample(PORTS, len(PORTS)))
    found = list(itertools.islice(free, count))
    if len(found) < count:
        raise NotInstalled(name="a free port", how=f"every one in {PORTS} is taken")
    return found


async def replies(port: int, opening: bytes) -> bool:
    """Return whether a loopback server answers a protocol's opening with anything at all."""
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
    """One server in a process group of its own, its output in a file.

    It dies with us on Linux, even if we are killed. Subclasses say when it is `ready`.
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
        """Tell which process this is and how it is."""
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
        """Return whether it serves; a plain process does as soon as it runs."""
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
                start_new_session=True,  # Ctrl-C is for us; we stop the servers in our own order
            )

    async def start(self) -> None:
        """Start the process and return when it serves.

        Raises:
            ProcessFailed: It ended, or did not serve within `ready_seconds`; with its last words.

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
        """Send a signal to the process itself (not to its children), if it runs."""
        if self._child is not None:
            self._child.send_signal(number)

    def kill(self) -> None:
        """Kill the process at once, as a crash would; its children are left to themselves."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def kill_group(self) -> None:
        """Kill the process and whatever it has started."""
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()

    async def ended(self) -> None:
        """Return when the process has ended."""
        while self.running:
            await asyncio.sleep(POLL_SECONDS)

    async def stop(self, *, grace_seconds: float = 20.0) -> None:
        """Ask the process to end, then kill it and whatever is left of its group."""
        if self._child is None or not self.running:
            return
        self.signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
                await self.ended()
        self.kill_group()

    async def __aenter__(self) -> Self:
        """Start the process; nothing is left behind if that fails."""
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
    """Stop processes that do not need one another, all at the same time."""
    await asyncio.gather(*(process.stop() for process in processes))
