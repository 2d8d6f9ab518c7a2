"""Which version a checkout says it is, without being installed."""

import shutil
import subprocess
from pathlib import Path

import pytest

from factorline import version as module
from infra.local.programs import ROOT


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder; return what it prints."""
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    ran = subprocess.run(  # noqa: S603 fixed words
        ["git", "-C", str(folder), *who, *arguments],  # noqa: S607 the git of PATH, as in the module
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with our project file, which the module takes for its own checkout."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "_PROJECT", tmp_path / "pyproject.toml")
    return tmp_path


def test_the_version_comes_from_the_newest_tag(checkout: Path) -> None:
    """The tag itself, then the commits since; other tags are passed over."""
    git(checkout, "init", "--quiet")
    git(checkout, "commit", "--allow-empty", "--quiet", "--message", "one")
    untagged = module.version()
    git(checkout, "tag", "v0.7.0")
    git(checkout, "tag", "other-1")
    tagged = module.version()
    git(checkout, "commit", "--allow-empty", "--quiet", "--message", "two")
    node = git(checkout, "rev-parse", "--short=9", "HEAD")

    assert ".dev1+g" in untagged
    assert "0.7.0" == tagged
    assert f"0.7.0.post1.dev1+g{node}" == module.version()


def test_a_copy_without_git_has_a_version(checkout: Path) -> None:
    """An archive of the sources shows the fallback of the project file, and so does a broken clone."""
    archive = module.version()
    (checkout / ".git").mkdir()

    assert archive == module.version()
    assert archive in (checkout / "pyproject.toml").read_text()


def test_an_installed_package_knows_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a project file beside it, the package asks its own metadata."""
    monkeypatch.setattr(module, "_PROJECT", tmp_path / "pyproject.toml")
    monkeypatch.setattr("importlib.metadata.version", {"factorline": "1.2.3"}.__getitem__)

    assert "1.2.3" == module.version()
