"""Which names the service answers to, and which web pages may call it: decided here for HTTP and WebSockets.

Two attacks use the browser of somebody who can reach the service. A page of another site sends requests
that need no permission (CSRF); browsers say in Origin and Sec-Fetch-Site where a request comes from. And a
page under a name of the attacker, who then points that name at this machine, seems to be the service's own
(DNS rebinding); its requests have that name in Host. The second one gains nothing where a key is needed.
"""

import ipaddress
import re
from collections.abc import Mapping

from common.runtime.hosts import is_loopback
from common.runtime.settings import Settings, listed
from gateway.views import problems

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?", re.ASCII | re.IGNORECASE)
_OWN = {"same-origin", "none"}
"""Values of Sec-Fetch-Site: the service's own page, or something that the person did."""
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key, If-None-Match, Prefer",
    "Access-Control-Max-Age": "600",
}
_READABLE = (
    "Allow, ETag, Location, Preference-Applied, RateLimit, RateLimit-Policy, Retry-After, "
    "WWW-Authenticate"
)


class Sites:
    """Knows the service's names, and the origins whose pages may call it."""

    def __init__(self, settings: Settings) -> None:
        self._any_name = settings.keys
        self._addresses = settings.insecure
        self._names = {*listed(settings.hosts), settings.host.lower()}
        self._origins = set(listed(settings.origins))

    def check_host(self, *hosts: str) -> None:
        """Refuse a request under a name that may be an attacker's.

        Args:
            hosts: What the request names as its host, in its target or in Host.

        Raises:
            problems.HostRefused: The service has no keys, and one of them is not a name of its own.

        """
        if self._any_name:
            return
        for host in hosts:
            found = _HOST.fullmatch(host)
            if found is None or not self._is_own(found[1].strip("[]").lower()):
                raise problems.HostRefused(host=host)

    def _is_own(self, name: str) -> bool:
        if is_loopback(name) or name in self._names:
            return True
        return self._addresses and _is_address(name)

    def check_page(self, method: str, host: str, headers: Mapping[str, str]) -> None:
        """Refuse a request that a page of another site makes, unless FACTORLINE_ORIGINS lists the site.

        That includes requests that only read. The page is not shown the answer, but it could measure how
        long it takes, or hold connections. A link to the service is followed.

        Args:
            method: How the service is called.
            host: The name under which it is called, with the port.
            headers: The request's. Browsers send Origin or Sec-Fetch-Site, others neither.

        Raises:
            problems.OriginRefused: The page is of another site.

        """
        origin, site = headers.get("Origin"), headers.get("Sec-Fetch-Site")
        if self._lists(origin):
            return
        if site is not None:
            own = site in _OWN or _follows_a_link(method, headers)
        else:
            own = origin is None or origin.partition("://")[2].lower() == host.lower()
        if not own:
            raise problems.OriginRefused(origin=origin)

    def fields(self, origin: str | None) -> dict[str, str]:
        """Return the header fields that let a page of a listed site read an answer."""
        if origin is None or not self._lists(origin):
            return {}
        return {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": _READABLE,
        }

    @property
    def depends_on_origin(self) -> bool:
        """Whether an answer differs by who asks, which caches have to know."""
        return bool(self._origins)

    def _lists(self, origin: str | None) -> bool:
        return origin is not None and origin.lower() in self._origins


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _follows_a_link(method: str, headers: Mapping[str, str]) -> bool:
    return (
        method in {"GET", "HEAD"}
        and headers.get("Sec-Fetch-Mode") == "navigate"
        and headers.get("Sec-Fetch-Dest") == "document"
    )
