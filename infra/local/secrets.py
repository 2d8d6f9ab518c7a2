"""Passwords for the servers of a local stack, made by the same script as Compose's."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

MAKE_SECRETS = Path(__file__).parents[1] / "secrets.sh"


def make_secrets(folder: Path, names: Iterable[str]) -> None:
    """Make the passwords that do not exist yet, each in a file of a folder that only we may enter."""
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    subprocess.run(["sh", str(MAKE_SECRETS), str(folder), *names], check=True)  # noqa: S607 the system's shell
