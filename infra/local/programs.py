"""Our own programs as child processes: gateways, workers, and the embedded service."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import aiohttp

from factorline.version import version
from infra.local.processes import Process

ROOT = Path(__file__).parents[2]
"""The root of the checkout whose programs are run, as `python -m gateway`."""

ANSWER_SECONDS = 2.0


async def answers(url: str) -> bool:
    """Return whether a GET succeeds."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as response:
            return response.ok
    except (aiohttp.ClientError, TimeoutError):
        return False


class Program(Process):
    """One of our packages, run with `python -m`; its settings are environment variables."""

    def __init__(
        self, name: str, module: str, *, folder: Path, settings: Mapping[str, str]
    ) -> None:
        env = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONSAFEPATH": "1",  # otherwise the working directory comes before PYTHONPATH
            "PYTHONFAULTHANDLER": "1",  # a crash of native code leaves a traceback in the log
            "FACTORLINE_NAME": name,
            "FACTORLINE_VERSION": version(),
            **settings,
        }
        super().__init__(name, [sys.executable, "-m", module], folder=folder, env=env)

    def run_from(self, checkout: Path) -> None:
        """From the next start on, run the program of another checkout with the Python of its .venv."""
        self.command[0] = str(checkout / ".venv" / "bin" / "python")
        self.env["PYTHONPATH"] = str(checkout)


class Gateway(Program):
    """A gateway on a port of its own."""

    def __init__(
        self, name: str, *, port: int, metrics_port: int, folder: Path, settings: Mapping[str, str]
    ) -> None:
        self.address = f"127.0.0.1:{port}"
        self.metrics_address = f"127.0.0.1:{metrics_port}"
        own = {
            "FACTORLINE_HOST": "127.0.0.1",
            "FACTORLINE_PORT": str(port),
            "FACTORLINE_PROXIES": "127.0.0.1",
            "FACTORLINE_METRICS": self.metrics_address,
        }
        super().__init__(name, "gateway", folder=folder, settings={**settings, **own})

    async def ready(self) -> bool:
        """Return whether the gateway says that it is ready."""
        return await answers(f"http://{self.address}/readyz")


class Worker(Program):
    """A worker. It counts as ready as soon as it runs, because work waits for it in the queue."""

    def __init__(
        self, name: str, *, metrics_port: int, folder: Path, settings: Mapping[str, str]
    ) -> None:
        self.metrics_address = f"127.0.0.1:{metrics_port}"
        own = {"FACTORLINE_METRICS": self.metrics_address}
        super().__init__(name, "factor_worker", folder=folder, settings={**settings, **own})


class Embedded(Program):
    """The whole service in one process, as `make run` starts it."""

    ready_seconds = 240.0
    """The very first start compiles the sieve, which takes minutes on a busy machine."""

    def __init__(self, folder: Path, *, port: int, settings: Mapping[str, str]) -> None:
        self.url = f"http://127.0.0.1:{port}"
        own = {
            "FACTORLINE_HOST": "127.0.0.1",
            "FACTORLINE_PORT": str(port),
            "FACTORLINE_DATA": str(folder / "data"),
        }
        super().__init__("embedded", "infra.local", folder=folder, settings={**settings, **own})

    async def ready(self) -> bool:
        """Return whether the service says that it is ready."""
        return await answers(f"{self.url}/readyz")
