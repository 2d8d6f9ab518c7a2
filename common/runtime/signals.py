"""How our programs are asked to stop."""

import asyncio
import os
import signal

import structlog

log = structlog.stdlib.get_logger(__name__)


def stop_this_program() -> None:
    """Ask this program to stop, as a signal from outside would."""
    os.kill(os.getpid(), signal.SIGTERM)


def stop_on_signals() -> asyncio.Event:
    """Return an event that the first SIGTERM or SIGINT sets; a second signal exits at once.

    Exiting at once is safe: unsettled units are delivered again, and child processes die with their worker.
    """
    stopping = asyncio.Event()

    def stop(number: int) -> None:
        if stopping.is_set():
            log.warning("A second signal: exiting at once", signal=signal.Signals(number).name)
            os._exit(1)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    return stopping
