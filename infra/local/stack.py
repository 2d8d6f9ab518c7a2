"""`make stack`: the production layout as plain processes on loopback, stopped together.

RabbitMQ with its management page, a MongoDB-wire server, gateways behind HAProxy, and workers.
Tests use `Stack` as an async context manager and kill parts of it.
"""

import argparse
import asyncio
import os
import shlex
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from common import errors
from common.runtime.signals import stop_on_signals
from infra.local.haproxy import MAX_GATEWAYS, HAProxy
from infra.local.mongo import GuardedMongoServer
from infra.local.processes import POLL_SECONDS, Process, free_ports, stop_all
from infra.local.programs import Gateway, Worker
from infra.local.rabbitmq import RabbitNode


class Stack:
    """All processes of one installation, started in the order of their dependencies."""

    def __init__(
        self, folder: Path, *, gateways: int = 2, workers: int = 2, port: int = 0, slots: int = 1
    ) -> None:
        logs = folder / "log"
        self._environment = folder / "environment"
        self.rabbitmq = RabbitNode(folder / "rabbitmq")
        self.mongo = GuardedMongoServer(folder / "mongo")
        settings = {
            "FACTORLINE_MANAGEMENT_URL": self.rabbitmq.management_url,
            "FACTORLINE_SLOTS": str(slots),
        }
        ports = iter(free_ports(workers + 2 * gateways))
        self.gateways = [
            Gateway(
                f"gateway-{i}",
                port=next(ports),
                metrics_port=next(ports),
                folder=logs,
                settings=settings | self._user("gateway"),
            )
            for i in range(1, gateways + 1)
        ]
        self.workers = [
            Worker(
                f"worker-{i}",
                metrics_port=next(ports),
                folder=logs,
                settings=settings | self._user("worker"),
            )
            for i in range(1, workers + 1)
        ]
        addresses = [gateway.address for gateway in self.gateways]
        self.haproxy = HAProxy(logs, addresses, port=port)
        # An operator at a shell has all rights, unlike the programs above.
        everything = {
            "FACTORLINE_AMQP_URL": self.rabbitmq.amqp_url,
            "FACTORLINE_MONGODB_URI": self.mongo.uri,
        }
        self._write_environment({**settings, **everything})

    def _user(self, name: str) -> dict[str, str]:
        """Return the settings that connect a program as the user of its kind, with the rights it needs."""
        return {
            "FACTORLINE_AMQP_URL": self.rabbitmq.url_of(name),
            "FACTORLINE_AMQP_PASSWORD_FILE": str(self.rabbitmq.secret(name)),
            "FACTORLINE_MONGODB_URI": self.mongo.uri_of(name),
            "FACTORLINE_MONGODB_PASSWORD_FILE": str(self.mongo.secret(name)),
        }

    @property
    def url(self) -> str:
        """The URL for clients."""
        return self.haproxy.url

    @property
    def servers(self) -> list[Process]:
        """The servers that the programs depend on."""
        return [self.rabbitmq, self.mongo]

    @property
    def programs(self) -> list[Process]:
        """The programs that depend on the servers."""
        return [*self.gateways, *self.workers, self.haproxy]

    async def __aenter__(self) -> Self:
        """Start everything and return when a gateway answers through the balancer."""
        try:
            for together in (self.servers, self.programs):
                for process in together:
                    process.spawn()
                for process in together:
                    await process.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop everything."""
        await self.stop()

    async def stop(self) -> None:
        """Stop everything, the servers last."""
        await stop_all(self.programs)
        await stop_all(self.servers)

    async def watch(self) -> None:
        """Run until cancelled; raise `ProcessFailed` when any process ends."""
        while all(process.require_running() for process in (*self.servers, *self.programs)):
            await asyncio.sleep(POLL_SECONDS)

    def _write_environment(self, settings: Mapping[str, str]) -> None:
        """Write a file for shells: the settings to talk to the stack and to start more programs for it."""
        variables = {
            "FACTORLINE_URL": self.url,
            **{name: value for name, value in settings.items() if name != "FACTORLINE_SLOTS"},
            "RABBITMQ_LOGIN": f"{self.rabbitmq.user}:{self.rabbitmq.password}",
            "BALANCER_URL": self.haproxy.statistics_url,
            "BALANCER_LOGIN": f"{self.haproxy.user}:{self.haproxy.password}",
        }
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()]
        self._environment.touch(mode=0o600)  # it holds passwords
        self._environment.write_text("".join(lines))

    def describe(self) -> str:
        """Return the addresses, one per line."""
        rabbitmq, haproxy = self.rabbitmq, self.haproxy
        return "\n".join(
            [
                f"Factorline is ready at {self.url}  (Ctrl-C stops everything)",
                *(f"  {gateway.name:<12}http://{gateway.address}" for gateway in self.gateways),
                f"  {'haproxy':<12}{haproxy.statistics_url}  {_login(haproxy)}",
                f"  {'rabbitmq':<12}{rabbitmq.management_url}  {_login(rabbitmq)}",
                f"  {'mongo':<12}{self.mongo.uri}",
                *(
                    f"  {worker.name:<12}http://{worker.metrics_address}/metrics"
                    for worker in self.workers
                ),
                f"  {'logs':<12}{self.haproxy.folder}",
                f"  {'settings':<12}. {self._environment}  (source it in a shell to start more programs)",
            ]
        )


def _login(server: HAProxy | RabbitNode) -> str:
    return f"user {server.user}, password {server.password}"


async def run(stack: Stack) -> None:
    """Run the stack until SIGTERM or SIGINT; raise `ProcessFailed` if a process ends before that."""
    stopping = asyncio.ensure_future(stop_on_signals().wait())
    serving = asyncio.ensure_future(_serve(stack))
    await asyncio.wait({stopping, serving}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    serving.cancel()
    try:
        await serving
    except asyncio.CancelledError:
        print("All processes have stopped.")  # noqa: T201 for the person who pressed Ctrl-C


async def _serve(stack: Stack) -> None:
    async with stack:
        print(stack.describe(), flush=True)  # noqa: T201 for the person who started it
        await stack.watch()


def arguments() -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.stack", description=__doc__)
    parser.add_argument("--gateways", type=int, choices=range(1, MAX_GATEWAYS + 1), default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--slots",
        type=int,
        help="units that each worker computes at a time; by default the cores are shared out",
    )
    parser.add_argument(
        "--port", type=int, default=8080, help="port for clients; 0 takes a free one"
    )
    parser.add_argument(
        "--data", type=Path, help="folder for data and logs; by default a temporary one"
    )
    return parser.parse_args()


def main() -> None:
    """Run the program; a `FactorlineError` ends it with its message and status 1."""
    options = arguments()
    slots = options.slots or max(1, (os.cpu_count() or 1) // max(1, options.workers))
    try:
        with tempfile.TemporaryDirectory(prefix="factorline-") as temporary:
            folder = (options.data or Path(temporary)).resolve()
            stack = Stack(
                folder,
                gateways=options.gateways,
                workers=options.workers,
                port=options.port,
                slots=slots,
            )
            asyncio.run(run(stack))
    except errors.FactorlineError as error:
        sys.exit(f"stack: {error.for_operators}")


if __name__ == "__main__":
    main()
