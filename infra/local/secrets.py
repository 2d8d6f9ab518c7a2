"""Passwords for the servers of a local stack, made by the script that makes Compose's."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

MAKE_SECRETS = Path(__file__).parents[1] / "secrets.sh"


def make_secrets(folder: Path, names: Iterable[str]) -> None:
    """Make the passwords that are not there yet, each a file in a folder that only we may enter."""
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    subprocess.run(["sh", str(MAKE_SECRETS), str(folder), *names], check=True)  # noqa: S607 the system's shell
