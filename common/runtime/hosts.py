"""Who can reach an address."""

import contextlib
import ipaddress


def is_loopback(host: str) -> bool:
    """Return whether a host, a name or an address without a port, can be reached only from this machine."""
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False
