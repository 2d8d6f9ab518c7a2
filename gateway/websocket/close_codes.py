"""Why the gateway closes a socket; the code tells a client what to do next."""

import enum


class CloseCode(enum.IntEnum):
    """40xx: do not come back. 41xx: back off. 1012: come back at once, with jitter."""

    SERVICE_RESTART = 1012
    """This gateway is leaving, another one is there."""
    TOO_MUCH_JUNK = 4001
    """Too many frames could not be understood: the client has a fault."""
    NOT_AUTHENTICATED = 4002
    """No good API key came in time."""
    KEY_REVOKED = 4003
    """The API key was revoked."""
    TOO_SLOW = 4101
    """The client reads more slowly than its tasks change."""
    TOO_MANY_SOCKETS = 4102
    """This gateway, or the key in it, has as many sockets as it can serve."""
