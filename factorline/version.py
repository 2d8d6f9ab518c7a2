"""Which version this is: that of the installed distribution or, in a checkout, what git says."""

import importlib.metadata
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
_PROJECT = ROOT / "pyproject.toml"


def version() -> str:
    """Return the version, for example ``0.1.0``, or ``0.1.0.post1.dev5+g1a2b3c4d5`` between releases.

    A checkout need not be installed, and an installation of it (editable) does not know of later
    commits; so there git is asked, with the same outcome as when a wheel is built.
    """
    if not _PROJECT.exists():
        return importlib.metadata.version("factorline")
    settings = tomllib.loads(_PROJECT.read_text())["tool"]["hatch"]["version"]["raw-options"]
    fallback: str = settings["fallback_version"]
    if not (ROOT / ".git").exists():
        return fallback
    try:
        return _described() or _counted(fallback)
    except (OSError, subprocess.CalledProcessError):  # no git here, or not our repository
        return fallback


def _described() -> str:
    """Return the version that the newest tag and the commits since give; empty without a tag."""
    try:
        said = _git("describe", "--tags", "--long", "--abbrev=9", "--match", "v[0-9]*")
    except subprocess.CalledProcessError:
        return ""
    tag, commits, node = said.removeprefix("v").rsplit("-", 2)
    return tag if commits == "0" else f"{tag}.post1.dev{commits}+{node}"


def _counted(fallback: str) -> str:
    """Return the version of a clone without tags."""
    base = fallback.partition(".dev")[0]
    commits, node = _git("rev-list", "--count", "HEAD"), _git("rev-parse", "--short=9", "HEAD")
    return f"{base}.dev{commits}+g{node}"


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 fixed words
    return ran.stdout.strip()
