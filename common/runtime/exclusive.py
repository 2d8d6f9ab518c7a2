"""One service at a time on a folder: whatever is outstanding there is its own."""

import fcntl
import os
from pathlib import Path

from common import errors

FILE = "in-use"
"""In the folder: the lock, and the process id of who holds it. It stays behind and means nothing unlocked."""


def claim(folder: Path, *, setting: str) -> None:
    """Claim a folder for this process until it ends, however it ends; make the folder if it is missing.

    Args:
        folder: The folder.
        setting: What names it, for errors.

    Raises:
        errors.SettingError: Another process has claimed it.

    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Never closed, so that the lock lasts; no program that is started from here inherits it.
    descriptor = os.open(folder / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 20).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise errors.SettingError(
            name=setting,
            value=str(folder),
            why=f"another service, with process id {holder}, uses this folder; stop that one, "
            "or give this one a folder of its own",
        ) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
