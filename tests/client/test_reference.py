"""The reference page of the command is generated from the command."""

import subprocess
import sys

from factorline.command.exits import Exit
from infra.local.programs import ROOT
from tests.client.test_command import SECONDS, environ

PAGE = ROOT / "docs" / "reference" / "command.md"


def test_the_page_is_up_to_date() -> None:
    """`make command` would change nothing."""
    generator = ["-m", "typer", "factorline.command.app", "utils", "docs", "--name", "factorline"]
    made = subprocess.run(  # noqa: S603 typer's own
        [sys.executable, *generator],
        capture_output=True,
        text=True,
        env=environ("http://127.0.0.1:8080"),
        timeout=SECONDS,
        check=True,
    )

    assert made.stdout.strip() == PAGE.read_text().strip()


def test_every_exit_status_is_explained() -> None:
    """The page has a sentence for each."""
    page = PAGE.read_text()

    for status in Exit:
        assert f" {status:d} {status.meaning}" in page
