"""Whom an address can be reached by."""

import contextlib
import ipaddress


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host, which is a name or an address without a port."""
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False
