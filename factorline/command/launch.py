"""Turns this process into a program of the server, so that signals and exit statuses are its own."""

import os
import sys
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parents[2]


def replace_with(
    module: str, port: int | None, *arguments: str, insecure: bool = False
) -> NoReturn:
    """Become ``python -m module``, run from wherever we are; it reads `FACTORLINE_…` itself."""
    path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    if port is not None:
        environ["FACTORLINE_PORT"] = str(port)
    if insecure:
        environ["FACTORLINE_INSECURE"] = "true"
    os.execve(sys.executable, [sys.executable, "-P", "-m", module, *arguments], environ)  # noqa: S606 no shell
