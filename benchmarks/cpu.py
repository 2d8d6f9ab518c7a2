"""Counts the CPU time that the processes of a service take."""

import contextlib
from collections.abc import Iterable

import psutil

from infra.local.processes import Process


class CpuMeter:
    """Adds up the CPU seconds of processes and of all that they started, killed ones included."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[int, float], float] = {}

    def read(self, processes: Iterable[Process]) -> float:
        """Return the CPU seconds of all processes ever read, after reading those that run now."""
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.running:
                    root = psutil.Process(process.pid)
                    for one in (root, *root.children(recursive=True)):
                        self._note(one)
        return sum(self._seconds.values())

    def _note(self, process: psutil.Process) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            key = (process.pid, process.create_time())
            # GMP-ECM's programs end before they can be read; their parent's account has their time.
            self._seconds[key] = times.user + times.system + times.children_user
