"""Who may use the service, and how much of it: API keys and their limits."""

from gateway.access.doorkeeper import Access, Doorkeeper, Identity, Quota, check_exposure
from gateway.access.limits import Limiter

__all__ = ["Access", "Doorkeeper", "Identity", "Limiter", "Quota", "check_exposure"]
