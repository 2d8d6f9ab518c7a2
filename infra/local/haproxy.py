"""HAProxy in front of the gateways, with the same configuration as in Compose."""

import os
from collections.abc import Sequence
from pathlib import Path

from infra.local.processes import Process, find_program, free_ports
from infra.local.programs import answers
from infra.local.secrets import make_secrets

CONFIGURATION = Path(__file__).parents[1] / "haproxy" / "haproxy.cfg"
MAX_GATEWAYS = 4
"""The number of gateways that the configuration has room for."""
UNLIMITED = 1_000_000
"""Requests in ten seconds, and connections. On loopback all clients share one address, and benchmarks send
all they can."""

HOW = (
    "Install it with `apt-get install -y --no-install-recommends haproxy` (Debian, Ubuntu) "
    "or `brew install haproxy` (macOS)"
)


class HAProxy(Process):
    """A load balancer in front of the gateways at the given addresses (host:port)."""

    def __init__(  # noqa: PLR0913 its settings
        self,
        folder: Path,
        gateways: Sequence[str],
        *,
        port: int = 0,
        rate: int = UNLIMITED,
        connections: int = UNLIMITED,
        configuration: Path = CONFIGURATION,
    ) -> None:
        """Prepare the balancer.

        Args:
            folder: Where its log and its password go.
            gateways: Their addresses.
            port: Where it listens; 0 takes a free port.
            rate: Requests that one key, or one address without a key, may make in ten seconds.
            connections: Connections that one address may have.
            configuration: Its file.

        """
        if len(gateways) > MAX_GATEWAYS:
            raise ValueError(f"{CONFIGURATION} has room for {MAX_GATEWAYS} gateways only")
        listen, statistics = free_ports(2)
        self.url = f"http://127.0.0.1:{port or listen}"
        self.statistics_url = f"http://127.0.0.1:{statistics}/"
        secret = folder / "secrets" / "haproxy_operator"
        make_secrets(secret.parent, [secret.name])
        self.user, self.password = "operator", secret.read_text()
        command = [find_program("haproxy", how=HOW), "-db", "-f", str(configuration)]
        env = {
            "FACTORLINE_PROXY": f"127.0.0.1:{port or listen}",
            "FACTORLINE_PROXY_STATS": f"127.0.0.1:{statistics}",
            "FACTORLINE_PROXY_PASSWORD": self.password,
            "FACTORLINE_PROXY_RATE": str(rate),
            "FACTORLINE_PROXY_ADDRESS_RATE": str(2 * rate),
            "FACTORLINE_PROXY_CONNECTIONS": str(connections),
            **{f"FACTORLINE_GATEWAY_{i}": address for i, address in enumerate(gateways, 1)},
        }
        super().__init__("haproxy", command, folder=folder, env={**os.environ, **env})

    async def ready(self) -> bool:
        """Return whether a gateway answers through the balancer."""
        return await answers(f"{self.url}/readyz")
