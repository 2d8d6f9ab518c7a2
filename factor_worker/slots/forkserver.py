"""Where child processes come from: a server that has loaded what they compute with, and forks them.

A program begins it before it imports all else, so that the server loads while its worker does.
"""

import multiprocessing
import os
import sys
from multiprocessing import forkserver

from common.runtime.settings import SECRETS

FORKED = sys.platform == "linux"
"""Elsewhere each child loads by itself what it needs: macOS's libraries do not survive a fork."""

CONTEXT = (
    multiprocessing.get_context("forkserver") if FORKED else multiprocessing.get_context("spawn")
)
CONTEXT.set_forkserver_preload(["factor_worker.slots.preload"])


def begin() -> None:
    """Start the server unless it runs; it is not ready yet. It is given no secret."""
    if not FORKED:
        return
    secrets = {name: os.environ.pop(name) for name in SECRETS if name in os.environ}
    try:
        forkserver.ensure_running()
    finally:
        os.environ.update(secrets)
