"""The client of Factorline: typed, asynchronous or not, and the command `factorline`.

It knows the HTTP and WebSocket contract and none of the server's code.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from factorline.api import Client
    from factorline.sync import SyncClient

__all__ = ["Client", "SyncClient"]

_HOMES = {"Client": "factorline.api", "SyncClient": "factorline.sync"}


def __getattr__(name: str) -> Any:
    """Import a client when it is first named: the command shows its help without (PEP 562)."""
    import importlib  # noqa: PLC0415 not needed by whoever imports a module of ours

    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(_HOMES[name]), name)
