"""HAProxy in front of the gateways, with the configuration that Compose uses too."""

import os
from collections.abc import Sequence
from pathlib import Path

from infra.local.processes import Process, find_program, free_ports
from infra.local.programs import answers

CONFIGURATION = Path(__file__).parents[1] / "haproxy" / "haproxy.cfg"
MOST_GATEWAYS = 4
"""As many as the configuration has places for."""
UNLIMITED = 1_000_000
"""On loopback everybody has the same address, and benchmarks ask as often as they can."""

HOW = (
    "on Debian or Ubuntu `apt-get install -y --no-install-recommends haproxy`, "
    "on macOS `brew install haproxy`"
)


class HAProxy(Process):
    """A balancer over gateways at the given addresses (host:port)."""

    def __init__(
        self, folder: Path, gateways: Sequence[str], *, port: int = 0, rate: int = UNLIMITED
    ) -> None:
        """``rate`` is of requests in ten seconds, of one key or address."""
        if len(gateways) > MOST_GATEWAYS:
            raise ValueError(f"{CONFIGURATION} has places for {MOST_GATEWAYS} gateways")
        listen, statistics = free_ports(2)
        self.url = f"http://127.0.0.1:{port or listen}"
        self.statistics_url = f"http://127.0.0.1:{statistics}/"
        command = [find_program("haproxy", how=HOW), "-db", "-f", str(CONFIGURATION)]
        env = {
            "FACTORLINE_PROXY": f"127.0.0.1:{port or listen}",
            "FACTORLINE_PROXY_STATS": f"127.0.0.1:{statistics}",
            "FACTORLINE_PROXY_RATE": str(rate),
            "FACTORLINE_PROXY_ADDRESS_RATE": str(2 * rate),
            **{f"FACTORLINE_GATEWAY_{i}": address for i, address in enumerate(gateways, 1)},
        }
        super().__init__("haproxy", command, folder=folder, env={**os.environ, **env})

    async def ready(self) -> bool:
        """Return whether a gateway answers through the balancer."""
        return await answers(f"{self.url}/readyz")
