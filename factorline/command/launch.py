"""Starts a program of the server by becoming it: its signals and its exit status are those of the command."""

import importlib.util
import os
import sys
from pathlib import Path
from typing import NoReturn

from factorline.command import kernels
from factorline.version import ROOT, version

_SHIPPED = Path(__file__).parents[1] / "_server"
SERVER = _SHIPPED if _SHIPPED.is_dir() else ROOT
"""The folder of the server's packages: the wheel carries them inside `factorline`, where nobody imports
them by accident; in a checkout they are at the root."""
_NEEDED = ("aio_pika", "flint", "gmpy2", "motor", "numba", "psutil", "structlog", "zstandard")
"""Some of what the extra `server` installs."""


def server_is_installed() -> bool:
    """Return whether the extra `server` is installed."""
    return all(importlib.util.find_spec(name) for name in _NEEDED)


def replace_with(
    module: str,
    *arguments: str,
    port: int | None = None,
    insecure: bool = False,
    computes: bool = False,
) -> NoReturn:
    """Become ``python -m module``, in the present folder; the program reads `FACTORLINE_…` itself.

    Args:
        module: A program of the server.
        arguments: Its command line.
        port: Where it listens, instead of `FACTORLINE_PORT`.
        insecure: Whether it may serve a public address without API keys.
        computes: Whether it factors numbers, and so needs compiled kernels.

    """
    if not server_is_installed():
        sys.exit("factorline: the server is not installed. Run: pip install 'factorline[server]'")
    path = [str(SERVER), *filter(None, [os.environ.get("PYTHONPATH")])]
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path),
        "FACTORLINE_VERSION": version(),
    }
    if port is not None:
        environ["FACTORLINE_PORT"] = str(port)
    if insecure:
        environ["FACTORLINE_INSECURE"] = "true"
    if computes and SERVER is _SHIPPED:
        environ |= kernels.compiled(SERVER, environ)
    os.execve(sys.executable, [sys.executable, "-P", "-m", module, *arguments], environ)  # noqa: S606 no shell
