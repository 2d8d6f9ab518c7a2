"""Where child processes come from: a fork server, which has loaded what they compute with.

A program starts the server before it imports anything else, so that both load at the same time.
"""

import importlib
import multiprocessing
import os
import sys
from multiprocessing import forkserver

from common.runtime.settings import SECRETS

FORKED = sys.platform == "linux"
"""Elsewhere each child loads by itself what it needs: macOS's libraries do not survive a fork."""
PRELOAD = "factor_worker.slots.preload"
"""By name, because a worker's own process must not load the kernels."""

CONTEXT = (
    multiprocessing.get_context("forkserver") if FORKED else multiprocessing.get_context("spawn")
)
CONTEXT.set_forkserver_preload([PRELOAD])


def begin() -> None:
    """Start the server unless it is running, and do not wait until it is ready. It is given no secret."""
    if not FORKED:
        return
    secrets = {name: os.environ.pop(name) for name in SECRETS if name in os.environ}
    try:
        forkserver.ensure_running()
    finally:
        os.environ.update(secrets)


def run_child(*args: object) -> None:
    """Be a child process: the server calls this in each process that it forks."""
    importlib.import_module(PRELOAD).serve(*args)
