"""The client of Factorline: typed, asynchronous or not, and the command `factorline`.

It knows the HTTP and WebSocket contract and none of the server's code.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from client.api import FactorlineClient
    from client.sync import SyncFactorlineClient

__all__ = ["FactorlineClient", "SyncFactorlineClient"]

_HOMES = {"FactorlineClient": "client.api", "SyncFactorlineClient": "client.sync"}


def __getattr__(name: str) -> Any:
    """Import a client when it is first named: the command shows its help without (PEP 562)."""
    import importlib  # noqa: PLC0415 not needed by whoever imports a module of ours

    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(_HOMES[name]), name)
