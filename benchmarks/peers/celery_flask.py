"""Starts Celery, RabbitMQ, Redis and Flask as plain processes, and submits numbers to them by polling."""

import asyncio
import contextlib
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp

from infra.local.processes import Process, find_program, free_ports, replies
from infra.local.programs import ROOT, answers
from infra.local.rabbitmq import RabbitNode

ENVIRONMENT = ROOT / ".venv-peer"
LOCK = Path(__file__).with_name("requirements.lock")
HOW = "Install it with `apt-get install -y --no-install-recommends redis-server` (Debian, Ubuntu)"
PROCESSES = 2
"""Of Celery's workers, and of gunicorn's with `THREADS` threads each: a core for each, as for ours."""
THREADS = 8
POLL_SECONDS = 0.01
"""The peer cannot push, so its clients poll, more often than anybody would in practice."""
WARM_NUMBERS = 100


class _Redis(Process):
    """A Redis server that writes nothing to disk."""

    def __init__(self, folder: Path, port: int) -> None:
        self._port = port
        program = find_program("redis-server", how=HOW)
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        super().__init__("redis", command, folder=folder, env={**os.environ})

    async def ready(self) -> bool:
        return await replies(self._port, b"PING\r\n")


class _Web(Process):
    """The Flask application under gunicorn."""

    def __init__(self, folder: Path, port: int, env: dict[str, str]) -> None:
        self.url = f"http://127.0.0.1:{port}"
        command = [
            str(ENVIRONMENT / "bin" / "python"),
            *("-m", "gunicorn", "--bind", f"127.0.0.1:{port}"),
            *("--workers", str(PROCESSES), "--threads", str(THREADS)),
            "benchmarks.peers.celery_flask_app.web:app",
        ]
        super().__init__("web", command, folder=folder, env=env)

    async def ready(self) -> bool:
        return await answers(f"{self.url}/get/unknown")


def _install() -> None:
    """Make the peer's environment, unless it exists."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)  # noqa: S603 ours
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "--require-hashes", "-r", str(LOCK)], check=True)  # noqa: S603 ours


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[str]:
    """Yield the URL of a fresh peer."""
    await asyncio.to_thread(_install)
    with tempfile.TemporaryDirectory(prefix="peer-") as name:
        folder = Path(name)
        redis_port, web_port = free_ports(2)
        async with RabbitNode(folder / "rabbitmq") as rabbitmq, _Redis(folder, redis_port):
            env = {
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "PEER_BROKER": rabbitmq.amqp_url,
                "PEER_BACKEND": f"redis://127.0.0.1:{redis_port}/0",
            }
            celery = [
                str(ENVIRONMENT / "bin" / "python"),
                *("-m", "celery", "-A", "benchmarks.peers.celery_flask_app.tasks", "worker"),
                *("--concurrency", str(PROCESSES), "--loglevel", "WARNING"),
            ]
            async with (
                Process("celery", celery, folder=folder, env=env),
                _Web(folder, web_port, env) as web,
            ):
                yield web.url


@contextlib.asynccontextmanager
async def submitting(url: str) -> AsyncIterator[Callable[[int], Awaitable[None]]]:
    """Yield a function that submits the i-th number and returns when polling has shown its factors."""
    base = 10**11 + secrets.randbelow(8 * 10**11)
    async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0)) as session:

        async def submit(index: int) -> None:
            async with session.post("/factor", json={"number": str(base + index)}) as response:
                response.raise_for_status()
                task_id = (await response.json())["task_id"]
            while True:
                async with session.get(f"/get/{task_id}") as response:
                    if (await response.json())["result"] != "Calculating...":
                        return
                await asyncio.sleep(POLL_SECONDS)

        await asyncio.gather(*(submit(-1 - index) for index in range(WARM_NUMBERS)))
        yield submit
