"""The public names of the package, and what importing it does not load."""

import doctest
import subprocess
import sys

import pytest

import factorline
from tests.client.test_command import SECONDS, environ
from tests.client.test_command import factorline as command

HEAVY = {"aiohttp", "msgspec", "rich.live"}


@pytest.mark.parametrize("name", factorline.__all__)
def test_every_public_name_is_there(name: str) -> None:
    """It is imported on first use."""
    assert getattr(factorline, name)


def test_an_unknown_name_is_an_error() -> None:
    """Both for Python and for a type checker."""
    with pytest.raises(ImportError, match="nonsense"):
        from factorline import nonsense  # type: ignore[attr-defined]  # noqa: F401, PLC0415


def test_the_usage_in_the_docstring_works(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a doctest."""
    monkeypatch.setenv("FACTORLINE_URL", url)
    failed, tried = doctest.testmod(factorline)

    assert (0, 2) == (failed, tried)


def test_help_imports_nothing_heavy() -> None:
    """The command line is parsed without the modules that talk to a service."""
    code = f"import sys; import factorline.command.app; print({HEAVY!r} & sys.modules.keys())"
    ran = subprocess.run(  # noqa: S603 the line above
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environ(""),
        timeout=SECONDS,
        check=True,
    )

    assert "set()" == ran.stdout.strip()


def test_the_command_says_its_version() -> None:
    """The same one as the package."""
    ran = command("", "--version")

    assert (f"factorline {factorline.__version__}\n", "", 0) == (
        ran.stdout,
        ran.stderr,
        ran.returncode,
    )
