"""Somebody who reads a page and pastes what it says into a shell, in a checkout of their own."""

import asyncio
import contextlib
import itertools
import os
import re
import secrets
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import pytest

from infra.local.processes import Process, free_ports
from infra.local.programs import ROOT
from tests.docs.blocks import RUN, Block

PORTS = ("8080", "8081")
"""What pages say that servers listen on; here each becomes a free port."""
LEFT_OUT = {".git", ".factorline", "build"}
STACK = "make stack"
BLOCK_SECONDS = 60.0
CURLRC = "silent\nshow-error\n"
"""No meter, as on a terminal."""


def checkout(folder: Path) -> Path:
    """Return a folder with links to everything in the checkout, where files may be made."""
    folder.mkdir()
    for path in ROOT.iterdir():
        if path.name not in LEFT_OUT:
            (folder / path.name).symlink_to(path)
    return folder


class Server(Process):
    """What a page says to leave running; ready when it says so itself."""

    ready_seconds = 90.0

    def __init__(
        self, name: str, script: str, *, checkout: Path, env: dict[str, str], port: str
    ) -> None:
        self.port = port
        command = ["sh", "-c", f'cd "$0"\n{script}', str(checkout)]
        super().__init__(name, command, folder=checkout.parent, env=env)

    async def ready(self) -> bool:
        """Return whether it has said that it is ready."""
        return self.log.exists() and "Factorline is ready at" in self.log.read_text(
            errors="replace"
        )


class Servers:
    """Servers by the command that starts them: pages that start the same share one.

    Embedded ones use the same folder, of which there can be one at a time: the reader stops it first.
    """

    def __init__(self, folder: Path) -> None:
        self.checkout = checkout(folder / "checkout")
        self._by_command: dict[str, Server] = {}
        self._numbers = itertools.count()

    async def start(self, block: Block, env: dict[str, str]) -> Server:
        """Return the running server of a block."""
        command = re.sub(r"\s+#.*", "", block.text).strip()
        if command not in self._by_command:
            if STACK not in command:
                for each in [each for each in self._by_command if STACK not in each]:
                    await self._by_command.pop(each).stop()
            port, other = map(str, free_ports(2))
            self._by_command[command] = Server(
                f"server-{next(self._numbers)}",
                with_ports(command, port, other),
                checkout=self.checkout,
                env={**env, "PORT": port, "FACTORLINE_PORT": port},
                port=port,
            )
            await self._by_command[command].start()
        return self._by_command[command]

    async def stop(self) -> None:
        """Stop all of them."""
        for server in self._by_command.values():
            await server.stop()


def with_ports(text: str, *ports: str) -> str:
    """Return a block's text with the ports that stand for the page's own."""
    for said, used in zip(PORTS, ports, strict=False):
        text = text.replace(said, used)
    return text


class Reader:
    """Pastes one block after the other; what is set in one is there in the next."""

    def __init__(self, home: Path, servers: Servers) -> None:
        self.folder = servers.checkout
        self.home = home
        self._servers = servers
        self._ports: list[str] = []
        self._shell: asyncio.subprocess.Process | None = None
        self._mark = secrets.token_hex(8)
        self._errors = self.home / "errors"

    @property
    def env(self) -> dict[str, str]:
        """An environment with next to nothing in it."""
        beside = Path(sys.executable).parent
        path = [self.home / ".local/bin", os.environ.get("PATH", ""), beside, "/usr/sbin"]
        return {
            "PATH": os.pathsep.join(map(str, path)),
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "SHELL": "/bin/bash",
            "FACTORLINE_SLOTS": "1",
        }

    async def __aenter__(self) -> Self:
        """Open the shell."""
        (self.home / ".curlrc").write_text(CURLRC)
        with self._errors.open("wb") as errors:
            self._shell = await asyncio.create_subprocess_exec(
                "bash",
                "--norc",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                cwd=self.folder,
                env=self.env,
                limit=1 << 24,
                start_new_session=True,
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the shell, with whatever a page that failed has left running in it."""
        assert self._shell is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._shell.pid, signal.SIGKILL)
        await self._shell.communicate()

    async def follow(self, blocks: Sequence[Block]) -> None:
        """Do what the blocks of a page say; fail at the first that does not work."""
        printed = ""
        for block in blocks:
            if block.manner == "not run":
                continue
            if block.manner == "keeps running":
                server = await self._servers.start(block, self.env)
                self._ports = [server.port, *map(str, free_ports(1))]
                printed = server.log.read_text()
                url = f"http://127.0.0.1:{server.port}"
                await self._paste(f"export PORT={server.port} FACTORLINE_URL={url}", block)
            elif block.manner == "save as":
                (self.folder / block.detail).write_text(self._adapted(block))
            elif block.language == "text":
                compare(printed, self._adapted(block), block)
            elif block.language in RUN:
                if block.text.startswith("node ") and shutil.which("node") is None:
                    pytest.skip("node: it is not installed here")
                printed = await self._run(block)

    def _adapted(self, block: Block) -> str:
        return with_ports(block.text, *self._ports)

    async def _run(self, block: Block) -> str:
        script = self.home / f"block-{block.line}"
        script.write_text(self._adapted(block))
        if block.language == "python":
            return await self._paste(f'PYTHONPATH=. .venv/bin/python -W error "{script}"', block)
        return await self._paste(f'. "{script}"', block)

    async def _paste(self, command: str, block: Block) -> str:
        """Run a command; return all that it printed. Any failing step of it fails the test."""
        shell = self._shell
        assert shell is not None
        assert shell.stdin is not None
        assert shell.stdout is not None
        shell.stdin.write(f"set -e -o pipefail\n{command}\nset +e\necho {self._mark}\n".encode())
        said = b""
        try:
            async with asyncio.timeout(BLOCK_SECONDS):
                read = await shell.stdout.readuntil(f"{self._mark}\n".encode())
        except (asyncio.IncompleteReadError, TimeoutError) as error:
            if isinstance(error, asyncio.IncompleteReadError):
                said = error.partial
            said += self._errors.read_bytes()
            raise AssertionError(
                f"{block.place} does not work ({type(error).__name__}): {block.text}\n"
                f"{said.decode(errors='replace')}"
            ) from None
        return read.decode(errors="replace").removesuffix(f"{self._mark}\n")


def compare(printed: str, expected: str, block: Block) -> None:
    """Fail if a page shows something else than what was printed; `…` stands for anything."""
    pattern = ".*?".join(re.escape(part) for part in expected.strip().split("…"))
    assert re.fullmatch(pattern, printed.strip(), re.DOTALL), (
        f"{block.place} shows\n{expected}\nbut it was\n{printed}"
    )
