"""A child that was taken over: what it can read, write, reach and leave behind."""

import asyncio
import ctypes
import functools
import json
import os
import re
import resource
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from common.domain import BigInt, Survey
from common.runtime import failpoints
from factor_worker.slots import child, confinement, forkserver
from factor_worker.slots.child import Shared
from factor_worker.slots.slot import Slot
from infra.local.programs import ROOT
from tests import waiting
from tests.worker.children import GENEROUS, child_of, linux_only
from tests.worker.probes import look, probe, refused

pytestmark = linux_only

PTRACE_ATTACH = 16
SECRET = "correct-horse-battery-staple"
PLACE = Path(tempfile.gettempdir()) / f"factorline-test-{os.getpid()}"
"""Where a test puts what its child is to look for; both know it by the worker's process id."""


def since(version: int, what: str) -> pytest.MarkDecorator:
    """Skip a test where the kernel cannot do what it is about."""
    return pytest.mark.skipif(
        confinement.version() < version,
        reason=f"linux: this kernel's Landlock does not know {what}",
    )


def place() -> Path:
    """In a child: return the place of its worker's test."""
    return Path(tempfile.gettempdir()) / f"factorline-test-{failpoints.parent}"


@pytest.fixture
def readable_by_all() -> Iterator[Path]:
    """Yield a file that every user may read and write, in a folder of every user."""
    PLACE.write_text(SECRET)
    PLACE.chmod(0o666)
    yield PLACE
    PLACE.unlink()


@since(1, "files")
@pytest.mark.usefixtures("readable_by_all")
async def test_a_child_reads_no_secret_and_writes_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that its user may read are closed to it, among them the store, the keys and passwords."""
    tried = await look(monkeypatch, opening_files)

    assert {"own code": "returned", "library": "returned"} == {
        name: tried.pop(name).split()[0] for name in ("own code", "library")
    }
    assert {"PermissionError"} == set(tried.values()), tried


@probe()
def opening_files() -> object:
    """Try to open what there is."""
    return {
        "own code": refused(Path(child.__file__).read_bytes().__len__),
        "library": refused(Path(json.__file__).read_bytes().__len__),
        "secret": refused(place().read_bytes),
        "secret, to write": refused(lambda: place().open("r+b")),
        "new file": refused(place().with_suffix(".new").touch),
        "root of the checkout": refused(lambda: list(ROOT.iterdir())),
        "store": refused((ROOT / ".factorline").mkdir),
        "passwords of users": refused(Path("/etc/passwd").read_bytes),
        "environment of the worker": refused(Path(f"/proc/{failpoints.parent}/environ").read_bytes),
        "memory of the worker": refused(Path(f"/proc/{failpoints.parent}/mem").read_bytes),
    }


@since(4, "TCP")
async def test_a_child_reaches_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither RabbitMQ nor MongoDB, nor somebody who waits for what it has to tell."""
    assert ["PermissionError", "PermissionError"] == await look(monkeypatch, using_the_network)


@probe()
def using_the_network() -> object:
    """Connect to a port where nobody listens, which is refused otherwise, and listen."""
    return [
        refused(lambda: socket.create_connection(("127.0.0.1", 1))),
        refused(lambda: socket.create_server(("127.0.0.1", 0))),
    ]


@since(6, "signals")
async def test_a_child_signals_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its worker, nor the fork server, nor the children beside it, though they are of one user."""
    assert ["PermissionError", "PermissionError"] == await look(monkeypatch, signalling)


@probe()
def signalling() -> object:
    """Ask whether signals could be sent."""
    whom = (failpoints.parent or 0, os.getppid())
    return [refused(functools.partial(os.kill, pid, 0)) for pid in whom]


@since(1, "tracing")
async def test_a_child_traces_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """It could otherwise run code in its worker, or read the numbers of others in its siblings."""
    assert [-1, -1] == await look(monkeypatch, tracing)


@probe()
def tracing() -> object:
    """Try to become the debugger of the worker and of the fork server."""
    trace = ctypes.CDLL(None).ptrace
    return [trace(PTRACE_ATTACH, pid, None, None) for pid in (failpoints.parent, os.getppid())]


async def test_a_child_has_few_descriptors_and_makes_no_file_grow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So it can neither fill a disk, not even through the log, nor the kernel's tables."""
    assert [64, 0, 0] == await look(monkeypatch, limits)


@probe()
def limits() -> object:
    """Return the limits of resources."""
    names = (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE)
    return [resource.getrlimit(name)[1] for name in names]


async def test_a_child_writes_nothing_into_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """It could fill it, or forge lines that somebody believes."""
    assert [True] * 3 == await look(monkeypatch, standard_streams)


@probe()
def standard_streams() -> object:
    """Return whether they are the null device."""
    nowhere = Path(os.devnull).stat().st_rdev
    return [os.fstat(stream).st_rdev == nowhere for stream in range(3)]


def test_a_child_cannot_take_the_shared_memory_away() -> None:
    """A worker that reads beyond the end of a file that was cut short dies of SIGBUS."""
    descriptor = Shared.make()
    try:
        with pytest.raises(PermissionError):
            os.truncate(descriptor, 0)
    finally:
        os.close(descriptor)


async def test_what_a_child_leaves_behind_ends_with_it(slot: Slot) -> None:
    """Even a process that has a session of its own, and that nobody but the kernel knows of."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forkserver, "TARGET", f"{__name__}:leave_something_behind")
        leaving = Slot(GENEROUS)
        await leaving.start()
    parent = child_of(leaving)
    await waiting.until(lambda: len(parent.children()) == 1, "a grandchild")
    [left] = parent.children()
    await leaving.close()

    await waiting.until(lambda: not left.is_running(), "the end of what was left behind")
    assert (await slot.compute(Survey(BigInt(15)))).pieces


def leave_something_behind(*args: Any, **named: Any) -> None:
    """Be a child with a child of its own that means to live on."""
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(1)
    child.serve(*args, **named)


async def test_killing_a_child_that_has_ended_hits_nobody_else(slot: Slot) -> None:
    """Its process id may be somebody else's by then: it is named by a descriptor."""
    process = cast("Any", slot._child)._process  # noqa: SLF001 no slot shows it
    await slot.close()
    bystander = subprocess.Popen(["sleep", "60"])  # noqa: ASYNC220, S607 starts at once
    process.pid = bystander.pid  # as if it had been given out again
    process.kill()
    await asyncio.sleep(0.1)

    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


WORKER = """
import asyncio, os, sys
from factor_worker.slots import forkserver
if __name__ == "__main__":
    forkserver.begin()
    from common.runtime.settings import Settings, forget_secrets
    settings = Settings.from_environ()
    forget_secrets()
    import pytest
    from tests.worker import test_confinement
    from tests.worker.probes import look
    with pytest.MonkeyPatch.context() as patch:
        found = asyncio.run(look(patch, test_confinement.occurrences))
    print(found, "FACTORLINE_MONGODB_URI" in os.environ, settings.mongodb_uri)
"""


def test_the_password_is_nowhere_in_the_memory_of_a_child() -> None:
    """Not in what it inherited from the fork server either; and gone from the worker's environment."""
    halves = secrets.token_hex(8), secrets.token_hex(8)
    address = f"mongodb://worker:{''.join(halves)}@127.0.0.1/"
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHON_HALVES": " ".join(halves),  # the fork server is given what begins with PYTHON
        "FACTORLINE_MONGODB_URI": address,
    }
    shown = subprocess.run(  # noqa: S603 ours
        [sys.executable, "-c", WORKER], env=env, capture_output=True, text=True, check=False
    )

    assert f"[0, True] False {address}" == shown.stdout.strip(), shown.stderr


@probe(early=True)
def occurrences() -> object:
    """Return how often the password is in this process's memory, and whether the search finds what is there.

    The password comes in two halves, because whoever has it to search for it has it in memory.
    """
    first, second = os.environ["PYTHON_HALVES"].encode().split()
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # so that an ordinary user may read its own memory
    passwords = controls = 0
    with Path("/proc/self/mem").open("rb", buffering=0) as memory:
        for begin, end in readable_memory():
            for start in range(begin, end, 1 << 24):
                part = os.pread(memory.fileno(), min(end - start, (1 << 24) + 64), start)
                for found in re.finditer(re.escape(first), part):
                    rest = part[found.end() : found.end() + len(second)]
                    passwords += rest == second
                    controls += rest[:1] == b" "
    return [passwords, controls > 0]


def readable_memory() -> Iterator[tuple[int, int]]:
    """Yield the bounds of what this process has in memory."""
    for line in Path("/proc/self/maps").read_text(encoding="ascii").splitlines():
        bounds, rights, *rest = line.split()
        if rights.startswith("r") and not rest[-1].startswith("[v"):
            begin, end = (int(one, 16) for one in bounds.split("-"))
            yield begin, end


OF_ONE_USER = """
import ctypes, json, os, sys
from common.runtime import privacy
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
libc = ctypes.CDLL(None)
libc.prctl(4, 1, 0, 0, 0)
if sys.argv[1] == "hidden":
    privacy.hide_memory()
parent = os.getpid()
if os.fork() == 0:
    def may(function):
        try:
            function()
        except OSError as error:
            return type(error).__name__
        return "yes"
    def trace():
        if libc.ptrace(16, parent, None, None):
            return False
        os.waitpid(parent, 0)
        libc.ptrace(17, parent, None, None)
        return True
    print(json.dumps({
        "environ": may(lambda: open(f"/proc/{parent}/environ", "rb").read()),
        "memory": may(lambda: open(f"/proc/{parent}/mem", "rb").close()),
        "traced": trace(),
    }), flush=True)
    os._exit(0)
os.wait()
"""


@pytest.mark.parametrize("hidden", [False, True])
def test_nobody_reads_the_memory_of_a_program(*, hidden: bool) -> None:
    """No process of the same user; root still may. A program that does not hide can be read."""
    shown = subprocess.run(  # noqa: S603 ours
        [sys.executable, "-c", OF_ONE_USER, "hidden" if hidden else "open"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    may = json.loads(shown.stdout)

    if hidden:
        assert {"environ": "PermissionError", "memory": "PermissionError", "traced": False} == may
    else:
        assert "yes" == may["environ"]


PROGRAM = """
import ctypes
from common.program.run import Frame, run
async def serve(frame: Frame) -> None:
    print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))  # PR_GET_DUMPABLE
run(serve, service="test")
"""


def test_every_program_hides_its_memory(tmp_path: Path) -> None:
    """Gateway, worker and the embedded service run in the same frame."""
    shown = subprocess.run(  # noqa: S603 ours
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env={**os.environ, "FACTORLINE_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert shown.stdout.strip() == "0"


async def test_a_child_hides_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """It works on numbers that are nobody else's business."""
    assert 0 == await look(monkeypatch, dumpable)


@probe()
def dumpable() -> object:
    """Return what the kernel says."""
    return ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
