"""Drives the GMP-ECM program: finds it, runs it, reads its output, and never leaves it running."""

import ctypes
import functools
import importlib.metadata
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from factor_worker.engine.parts import EngineError

WHEEL: Final = "passagemath-libecm"
_INSIDE_WHEEL = "sage_wheels/bin/ecm"
_FAILED = 1
_FACTOR_FOUND = 2 | 4  # a factor, prime or not; 8 alone says that it was the number itself
_PR_SET_PDEATHSIG = 1


class EcmMissing(EngineError):
    """GMP-ECM is not installed."""


class EcmFailed(EngineError):
    """GMP-ECM ended with an error, was killed, or contradicted itself."""


class EcmTimedOut(EngineError):
    """GMP-ECM did not end within its time limit, and was killed."""


@functools.cache
def binary() -> Path:
    """Return the path of the program: that of the wheel `WHEEL`, else the `ecm` on PATH.

    Raises:
        EcmMissing: there is neither.
    """
    on_path = shutil.which("ecm")
    for path in (_wheel_binary(), Path(on_path) if on_path else None):
        if path and os.access(path, os.X_OK):
            return path
    message = f"GMP-ECM is missing: pip install --no-deps {WHEEL}, or apt install gmp-ecm"
    raise EcmMissing(message)


def _wheel_binary() -> Path | None:
    """Return where the wheel keeps its program, without importing the package, which would load Sage."""
    try:
        return Path(str(importlib.metadata.distribution(WHEEL).locate_file(_INSIDE_WHEEL)))
    except importlib.metadata.PackageNotFoundError:
        return None


def run_once(n: int, arguments: Sequence[str], *, timeout_s: float) -> tuple[int, ...]:
    """Return the nontrivial divisors of n that one run finds, ascending.

    `arguments` are those of the program. On Linux it is killed when the *thread* that calls this ends,
    however that happens. It has an empty environment and writes no files.

    Raises:
        EcmMissing: the program is not installed.
        EcmFailed: it ended with an error, or contradicted itself.
        EcmTimedOut: it took longer than `timeout_s`.
    """
    command = [str(binary()), "-q", *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - the arguments are numbers and fixed words
            command,
            input=f"{n}\n",
            capture_output=True,
            check=False,
            text=True,
            timeout=timeout_s,
            env={},
            preexec_fn=_die_with_parent(),  # one system call, looked up before
        )
    except subprocess.TimeoutExpired as error:
        message = f"GMP-ECM took more than {timeout_s:.1f} s"
        raise EcmTimedOut(message) from error
    return _divisors(n, done)


def _divisors(n: int, done: subprocess.CompletedProcess[str]) -> tuple[int, ...]:
    """Return the divisors in the output of a finished run: every number there that divides n is one.

    The exit status is a bit mask: 1 error, 2 factor found, 4 factor prime, 8 cofactor prime.
    """
    if done.returncode < 0 or done.returncode & _FAILED:
        message = f"GMP-ECM ended with status {done.returncode}: {done.stderr.strip()[-200:]}"
        raise EcmFailed(message)
    longest = len(str(n))
    words = set(re.findall(r"[0-9]+", done.stdout, re.ASCII))
    numbers = {int(word) for word in words if len(word) <= longest}
    found = tuple(sorted(d for d in numbers if 1 < d < n and n % d == 0))
    if done.returncode & _FACTOR_FOUND and not found:
        message = f"GMP-ECM says that it found a factor, but printed {done.stdout[:200]!r}"
        raise EcmFailed(message)
    return found


def _die_with_parent() -> Callable[[], None] | None:
    """Return a function that makes a forked child die with its parent, or None on other systems than Linux.

    Everything is looked up here, before the fork: after it the child should only make system calls.
    """
    if sys.platform != "linux":
        return None
    prctl, parent = ctypes.CDLL(None, use_errno=True).prctl, os.getpid()

    def die_with_parent() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died before the call took effect
            os._exit(_FAILED)

    return die_with_parent
