"""Files that killed quadratic sieves left are removed, and no others."""

import os
from pathlib import Path

import pytest

from factor_worker.engine import whole

LONG_AGO = 1_000_000_000.0  # seconds since the epoch


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that is swept instead of /tmp."""
    monkeypatch.setattr(whole, "_SCRATCH", tmp_path)
    return tmp_path


def leave(folder: Path, name: str, *, old: bool) -> Path:
    """Put a file there."""
    path = folder / name
    path.write_bytes(b"relations")
    if old:
        os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def test_an_old_file_of_nobody_is_removed(scratch: Path) -> None:
    """This is what a killed child leaves."""
    path = leave(scratch, "siqsAbCdEf", old=True)

    assert whole.remove_leftovers() == 1
    assert not path.exists()


def test_young_files_open_files_and_strangers_are_spared(scratch: Path) -> None:
    """A sieve at work, here or in another process, keeps its relations."""
    leave(scratch, "siqsYoung1", old=False)
    leave(scratch, "siqs-notes.txt", old=True)
    with leave(scratch, "siqsOpen12", old=True).open("rb"):
        assert whole.remove_leftovers() == 0

    assert len(list(scratch.iterdir())) == 3
