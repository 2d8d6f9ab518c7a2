"""Keeps what is in this process from other processes of the same user."""

import ctypes
import os
import sys

_PR_SET_DUMPABLE = 4  # prctl(2)


def hide_memory() -> None:
    """Keep this process's memory and first environment from everybody but root. Only Linux can.

    Afterwards the owner of /proc/PID is root, no process without CAP_SYS_PTRACE can trace this one, and it
    leaves no core dump. This holds for processes that are forked from it, too, and ends with exec.

    Raises:
        OSError: The kernel refuses.

    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
