"""The client of Factorline, a service that factors integers; the command `factorline` is made of it.

    >>> from factorline import SyncClient
    >>> with SyncClient() as client:
    ...     client.submit("2^128+1", wait_s=30).primes
    [59649589127497217, 5704689200685129054721]

`Client` is the same for programs with an event loop. Both know the service's HTTP and WebSocket contract
and none of its code.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from factorline.api import Client
    from factorline.errors import (
        FactorlineError,
        InvalidURL,
        NotAllowed,
        NotFactorline,
        NumberRefused,
        Refused,
        StillRunning,
        Unavailable,
        UnknownTask,
        Unreachable,
        WrongAnswer,
    )
    from factorline.models import (
        BatchItem,
        Composite,
        Factor,
        Health,
        KnownNumber,
        Problem,
        Progress,
        Task,
    )
    from factorline.sync import SyncClient

    __version__: str

__all__ = [
    "BatchItem",
    "Client",
    "Composite",
    "Factor",
    "FactorlineError",
    "Health",
    "InvalidURL",
    "KnownNumber",
    "NotAllowed",
    "NotFactorline",
    "NumberRefused",
    "Problem",
    "Progress",
    "Refused",
    "StillRunning",
    "SyncClient",
    "Task",
    "Unavailable",
    "UnknownTask",
    "Unreachable",
    "WrongAnswer",
    "__version__",
]

_HOMES = ("api", "sync", "errors", "models")
"""The modules that the names above come from."""

if not TYPE_CHECKING:  # a type checker knows the names above, and complains about any other

    def __getattr__(name: str) -> Any:
        """Import what is named when it is first used (PEP 562): help and completion need none of it."""
        if name == "__version__":
            value = importlib.import_module("factorline.version").version()
        elif name in __all__:
            modules = (importlib.import_module(f"factorline.{home}") for home in _HOMES)
            value = next(getattr(module, name) for module in modules if hasattr(module, name))
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
