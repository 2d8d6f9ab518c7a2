"""Why the gateway closes a socket. The code tells the client what to do next."""

import enum


class CloseCode(enum.IntEnum):
    """40xx: do not reconnect. 41xx: back off first. 1012: reconnect at once, with jitter."""

    SERVICE_RESTART = 1012
    """This gateway is stopping; another one is running."""
    TOO_MUCH_JUNK = 4001
    """Too many frames were invalid: the client has a fault."""
    NOT_AUTHENTICATED = 4002
    """No valid API key came in time."""
    KEY_REVOKED = 4003
    """The API key was revoked, or has expired."""
    TOO_SLOW = 4101
    """The client does not read. Only metrics show this code: a close frame would have to be read, too."""
    TOO_MANY_SOCKETS = 4102
    """This gateway, or the API key in it, has as many sockets as it may have."""
