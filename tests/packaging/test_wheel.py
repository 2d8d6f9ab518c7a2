"""The wheel as a user gets it: built, checked, installed into empty environments, and put to work there."""

import asyncio
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

from factorline.command.exits import Exit
from factorline.version import version
from infra.local.processes import Process, free_ports
from infra.local.programs import ROOT, answers

SECONDS = 600
"""Downloads and the compiler take their time on a busy machine."""
pytestmark = pytest.mark.timeout(SECONDS)
UV = [sys.executable, "-m", "uv", "--quiet", "--system-certs"]


def uv(*arguments: str | Path) -> None:
    """Run uv; skip the test if there is no package index."""
    ran = subprocess.run(  # noqa: S603 our own arguments
        [*UV, *map(str, arguments)], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    if "error sending request" in ran.stderr:
        pytest.skip(f"index: the package index cannot be reached: {ran.stderr.strip()[-200:]}")
    assert 0 == ran.returncode, ran.stderr


class Environment(NamedTuple):
    """An environment with the wheel in it, and a user with an empty home."""

    folder: Path
    home: Path

    @property
    def variables(self) -> dict[str, str]:
        """All variables that a program of this user gets."""
        return {"HOME": str(self.home), "PATH": os.defpath, "LANG": "C.UTF-8"}

    @property
    def command(self) -> str:
        """The path of the command."""
        return str(self.folder / "bin" / "factorline")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command in the home."""
        return subprocess.run(  # noqa: S603 our own command
            [self.command, *arguments],
            capture_output=True,
            text=True,
            cwd=self.home,
            env=self.variables,
            timeout=SECONDS,
            check=False,
        )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel, built from the source archive as every installer would."""
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--out-dir", folder, ROOT)
    [found] = folder.glob("*.whl")
    return found


def environment(folder: Path, requirement: str) -> Environment:
    """Return a new environment with nothing but a requirement and what that needs."""
    made = Environment(folder / "environment", folder / "home")
    made.home.mkdir()
    uv("venv", made.folder)
    uv(
        "pip",
        "install",
        "--python",
        made.folder,
        "--constraint",
        ROOT / "requirements.lock",
        requirement,
    )
    return made


@pytest.fixture(scope="module")
def client(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Return an environment with the wheel alone."""
    return environment(tmp_path_factory.mktemp("client"), str(wheel))


@pytest.fixture(scope="module")
def server(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Return an environment with the wheel and the server's dependencies."""
    return environment(tmp_path_factory.mktemp("server"), f"{wheel}[server]")


def test_the_wheel_is_well_made(wheel: Path) -> None:
    """check-wheel-contents finds nothing, and one package is all that it has, marked as typed."""
    checked = subprocess.run(  # noqa: S603 a program of the lock
        [sys.executable, "-m", "check_wheel_contents", "--toplevel", "factorline", wheel],
        capture_output=True,
        text=True,
        check=False,
    )
    names = zipfile.ZipFile(wheel).namelist()

    assert 0 == checked.returncode, checked.stdout
    assert "factorline/py.typed" in names
    assert not [name for name in names if "test" in name or name.endswith((".pyc", ".nbi"))]


def test_the_client_needs_four_packages() -> None:
    """Nothing of the server is among its dependencies."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {dependency.partition(">")[0] for dependency in project["dependencies"]}

    assert {"aiohttp", "msgspec", "rich", "typer"} == names


def test_the_command_says_the_version_of_the_checkout(client: Environment) -> None:
    """A build adds the day if something is not committed."""
    said = client.run("--version").stdout.removeprefix("factorline ").strip()

    assert version() in {said, said.rpartition(".d")[0]}


def test_without_the_server_the_command_says_what_to_install(client: Environment) -> None:
    """One line for every verb that is a program of the server; nothing else is missed."""
    for verb in (["serve"], ["gateway"], ["worker"], ["keys", "list"]):
        ran = client.run(*verb)

        assert Exit.INCOMPLETE == ran.returncode
        assert [
            "factorline: the server is not installed. Run: pip install 'factorline[server]'"
        ] == (ran.stderr.splitlines())


async def test_the_server_serves_from_an_empty_folder(
    client: Environment, server: Environment
) -> None:
    """Its kernels are compiled once; a client in another environment has a number factored."""
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    starts = [Service(server, name, port) for name in ("first", "second")]
    for service in starts:
        async with service:
            ran = await asyncio.to_thread(client.run, "submit", "--wait", "2^199-1", "--url", url)
            assert ran.stdout.endswith(
                " = 164504919713 * 4884164093883941177660049098586324302977543600799\n"
            ), ran.stderr
    made = server.run("keys", "make", "me")
    first, second = (service.log.read_text() for service in starts)

    assert f"Compiling the sieve into {server.home}/.cache/factorline/kernels-" in first
    assert "Compiling" not in second
    assert (0, "fl_") == (made.returncode, made.stdout[:3])
    assert {".cache", ".factorline"} == {path.name for path in server.home.iterdir()}
    assert not list(server.folder.rglob("*.sha256")), "an installation has only what was installed"


class Service(Process):
    """`factorline serve` in the home of an environment's user."""

    ready_seconds = 500.0

    def __init__(self, environment: Environment, name: str, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        command = ["sh", "-c", 'cd "$HOME" && exec "$0" serve --port "$1"']
        command += [environment.command, str(port)]
        super().__init__(name, command, folder=environment.folder.parent, env=environment.variables)

    async def ready(self) -> bool:
        """Return whether it takes numbers."""
        return await answers(f"{self.url}/readyz")
