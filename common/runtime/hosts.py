"""Who can reach an address, and where addresses are."""

import contextlib
import ipaddress
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def is_loopback(host: str) -> bool:
    """Return whether a host, a name or an address without a port, can be reached only from this machine."""
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def networks(text: str) -> tuple[Network, ...]:
    """Return addresses and networks that are separated by commas: ``10.0.0.0/8, 2001:db8::1``.

    Raises:
        ValueError: The message says which of them is none.

    """
    found: list[Network] = []
    for each in filter(None, (part.strip() for part in text.split(","))):
        try:
            found.append(ipaddress.ip_network(each))
        except ValueError as error:
            raise ValueError(
                f"{each} is neither an address nor a network such as 10.0.0.0/8 ({error})"
            ) from error
    return tuple(found)


def address(text: str | None) -> Address | None:
    """Return an address, an IPv4 address that is written as one of IPv6 as what it is; None if it is none."""
    try:
        found = ipaddress.ip_address((text or "").strip())
    except ValueError:
        return None
    if isinstance(found, IPv6Address):
        return found.ipv4_mapped or found
    return found


def is_in(host: str, allowed: Iterable[Network]) -> bool:
    """Return whether a host is an address in one of the networks."""
    found = address(host)
    return found is not None and any(
        found in network for network in allowed if network.version == found.version
    )
