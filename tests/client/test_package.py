"""What `import factorline` gives, and what it leaves for later."""

import subprocess
import sys

import pytest

import factorline
from tests.client.test_command import SECONDS, environ
from tests.client.test_command import factorline as command

HEAVY = {"aiohttp", "msgspec", "rich.live"}


@pytest.mark.parametrize("name", factorline.__all__)
def test_every_public_name_is_there(name: str) -> None:
    """It is imported when it is asked for."""
    assert getattr(factorline, name)


def test_an_unknown_name_is_an_error() -> None:
    """Both for Python and for a type checker."""
    with pytest.raises(ImportError, match="nonsense"):
        from factorline import nonsense  # type: ignore[attr-defined]  # noqa: F401, PLC0415


def test_help_imports_nothing_heavy() -> None:
    """The command line is read without what talks to a service."""
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
