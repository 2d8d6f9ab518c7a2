"""The code on the pages about clients, with more variations than tests/docs tries."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from infra.local.programs import ROOT
from tests.client.test_command import SECONDS, environ

PAGES = ROOT / "docs" / "how-to"


def blocks(page: str, language: str) -> list[str]:
    """Return the fenced blocks of a language on a page."""
    text = (PAGES / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def program(name: str) -> str:
    """Return the path of a program; skip the test without it."""
    return shutil.which(name) or pytest.skip(f"{name}: it is not installed here")


@pytest.mark.parametrize("options", [[], ["--experimental-websocket"]], ids=["polling", "socket"])
@pytest.mark.parametrize(
    ("number", "expected"),
    [("2^67-1", (0, "193707721,761838257287\n")), ("-1", (0, "-1\n")), ("abc", (1, ""))],
)
def test_the_javascript_client(
    url: str, tmp_path: Path, options: list[str], number: str, expected: tuple[int, str]
) -> None:
    """It works in Node.js, with WebSockets and without."""
    node = program("node")
    [code] = blocks("write-a-client.md", "js")
    script = tmp_path / "factorline.mjs"
    script.write_text(code)
    ran = subprocess.run(  # noqa: S603 the page's own code
        [node, *options, str(script), number],
        capture_output=True,
        text=True,
        env={**environ(url), "NODE_NO_WARNINGS": "1"},
        timeout=SECONDS,
        check=False,
    )

    assert expected == (ran.returncode, ran.stdout), ran.stderr
    assert (number == "abc") == ("not-a-number" in ran.stderr)


def test_the_script_example(url: str) -> None:
    """The shell distinguishes the exit statuses."""
    [code] = [code for code in blocks("use-the-command.md", "sh") if "case $?" in code]
    said = []
    for number in ("15", "abc"):
        command = environ(url, PATH=f"{ROOT}/.venv/bin:{os.environ['PATH']}")
        ran = subprocess.run(  # noqa: S603 the page's own code
            ["/bin/sh", "-c", code, "sh", number],
            capture_output=True,
            text=True,
            env=command,
            timeout=SECONDS,
            check=True,
        )
        said.append(ran.stdout.splitlines()[-1])

    assert ["factored", "the number was refused"] == said
