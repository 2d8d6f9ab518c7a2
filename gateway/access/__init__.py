"""Who may use the service, and how much of it: API keys, their limits, and pages of other sites."""

from gateway.access.doorkeeper import Access, Doorkeeper, Identity, Quota, check_exposure
from gateway.access.limits import Limiter
from gateway.access.sites import PREFLIGHT, Sites

__all__ = [
    "PREFLIGHT",
    "Access",
    "Doorkeeper",
    "Identity",
    "Limiter",
    "Quota",
    "Sites",
    "check_exposure",
]
