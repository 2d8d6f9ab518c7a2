"""Only the laboratory uses fail points."""

import subprocess
import sys
from pathlib import Path

import pytest

from common.runtime import failpoints

ROOT = Path(__file__).parents[2]


def test_nothing_that_is_shipped_arms_them() -> None:
    """Only its own module, the laboratory and their documentation name the variable."""
    shipped = [
        *(ROOT / "infra").rglob("*"),
        *(ROOT / "gateway").rglob("*.py"),
        *(ROOT / "factor_worker").rglob("*.py"),
        ROOT / "docker-compose.yml",
        ROOT / "Makefile",
    ]
    arming = [
        path
        for path in shipped
        if path.is_file() and failpoints.VARIABLE.encode() in path.read_bytes()
    ]

    assert [] == arming
    assert len(shipped) > 50


@pytest.mark.parametrize("program", ["gateway", "factor_worker", "infra.local"])
def test_a_program_refuses_to_start_with_a_folder_of_somebody_else(
    program: str, tmp_path: Path
) -> None:
    """A variable that was left set by mistake is noticed at the start."""
    ended = subprocess.run(  # noqa: S603 our own program
        [sys.executable, "-m", program],
        cwd=ROOT,
        env={failpoints.VARIABLE: str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert ended.returncode == 1
    assert f"{failpoints.VARIABLE} is set" in ended.stderr


def test_unarmed_points_do_nothing() -> None:
    """That includes this process."""
    assert not failpoints.hit("worker.received", 35)
