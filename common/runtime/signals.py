"""How every program of ours is asked to stop."""

import asyncio
import os
import signal

import structlog

log = structlog.stdlib.get_logger(__name__)


def stop_this_program() -> None:
    """Ask this very program to stop, as somebody outside would."""
    os.kill(os.getpid(), signal.SIGTERM)


def stop_on_signals() -> asyncio.Event:
    """Return an event that the first SIGTERM or SIGINT sets; the second one exits at once.

    Exiting at once is safe: whatever is in hand is delivered again, and children die with us.
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
