"""Becomes another program that, on Linux, the kernel kills when its parent dies.

`python -I -S tether.py PARENT_PID PROGRAM [ARGUMENT...]`. This is a program and not a `preexec_fn`,
because Python code between fork and exec can deadlock in a process with threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""From <linux/prctl.h>; the setting survives exec. See prctl(2)."""


def main() -> None:
    """Ask the kernel to kill this process when its parent dies, then become the program."""
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(parent):  # the parent died before prctl
            sys.exit("the parent process has ended")
    os.execvp(command[0], command)  # noqa: S606 becoming the program is the purpose


if __name__ == "__main__":
    main()
