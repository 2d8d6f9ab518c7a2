"""Fail points: named places in the code where the fault laboratory can make a process die, stop or lie.

Nothing happens unless `FACTORLINE_FAIL_POINTS` names a folder when the process starts, and the process
refuses to start unless that folder holds the mark of the laboratory. No image and no unit file sets it.
Each fault is a file, `<folder>/<point>/<anything>.json`, that holds a `Fault`. The first process to reach the
point moves the file away, so that the fault happens once and the laboratory can see that it did.
See docs/reference/fault-laboratory.md.
"""

import contextlib
import enum
import os
import signal
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

VARIABLE: Final = "FACTORLINE_FAIL_POINTS"
MARK: Final = "fault-laboratory"
"""A file of this name must be in the folder."""
FIRED: Final = "fired"
"""The subfolder that files are moved to when their fault happens."""


class Action(enum.StrEnum):
    """What happens to the process that reaches an armed point."""

    KILL = "kill"
    """It dies as if by SIGKILL."""
    KILL_PARENT = "kill-parent"
    """Its parent dies as if by SIGKILL: a worker in the middle of its child's unit."""
    STOP = "stop"
    """It is frozen until it is sent SIGCONT."""
    SEGFAULT = "segfault"
    MEMORY = "memory"
    """It takes more and more memory."""
    ENDLESS = "endless"
    """It runs forever."""
    DEAF = "deaf"
    """It runs forever and ignores SIGTERM."""
    LIE = "lie"
    """`hit` returns True, and the code at the point does something wrong."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One fault that is to happen once."""

    action: Action
    subject: str = ""
    """A decimal number: the fault hits only a process that works on it. Empty hits every process."""


def _folder() -> Path | None:
    name = os.environ.get(VARIABLE)
    if not name:
        return None
    if not (Path(name) / MARK).is_file():
        sys.exit(
            f"{VARIABLE} is set, but {name} is not a folder of the fault laboratory. Fail points are "
            "only for its tests: unset the variable"
        )
    return Path(name)


_armed: Final = _folder()
parent: int | None = None
"""In a child that a fork server has forked: the worker's process id."""


def folder() -> Path | None:
    """Return the folder that this process reads its faults from: None, but for the laboratory."""
    return _armed


def hit(point: str, subject: object = "") -> bool:
    """Trigger the next fault of a point, if one is armed; return whether the caller should lie.

    Args:
        point: The name of the place.
        subject: What the caller works on; compared as text with the subject of the fault.

    """
    return _armed is not None and _happen(_armed, point, str(subject))


def _happen(folder: Path, point: str, subject: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        for path in sorted((folder / point).iterdir()):
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                fault = msgspec.json.decode(path.read_bytes(), type=Fault)
                if fault.subject in {"", subject}:
                    path.rename(folder / FIRED / f"{point}.{path.stem}.{os.getpid()}")
                    return _act(fault.action)
    return False


def _act(action: Action) -> bool:
    match action:
        case Action.KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        case Action.KILL_PARENT:
            os.kill(parent or os.getppid(), signal.SIGKILL)
            time.sleep(60)  # the kernel ends us together with our parent
        case Action.STOP:
            os.kill(os.getpid(), signal.SIGSTOP)
        case Action.SEGFAULT:
            os.kill(os.getpid(), signal.SIGSEGV)
        case Action.MEMORY:
            _take_memory()
        case Action.ENDLESS | Action.DEAF:
            if action is Action.DEAF:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                pass
        case Action.LIE:
            return True
    return False


def _take_memory() -> None:
    taken = []
    while True:
        taken.append(bytearray(os.urandom(1) * (16 << 20)))
        time.sleep(0.01)
