"""Vendored code and fonts are unchanged, and have their licences."""

import hashlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("folder", ["gateway/web", "tests/browser/vendor"])
def test_vendored_files_are_the_released_ones(folder: str) -> None:
    """Every checksum in the folder's list matches, and a licence is beside it."""
    lines = (ROOT / folder / "SHA256SUMS").read_text().splitlines()
    assert lines
    for line in lines:
        expected, name = line.split()
        assert expected == hashlib.sha256((ROOT / folder / name).read_bytes()).hexdigest()
        assert list((ROOT / folder).glob(f"{Path(name).stem.partition('.')[0]}*LICENSE"))
