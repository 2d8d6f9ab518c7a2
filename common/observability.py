"""How a process tells what it does: log lines for people and machines."""

import logging
import sys

from common.settings import Settings


def configure_logging(settings: Settings) -> None:
    """Send log lines of the configured level and above to standard error, one line an event."""
    name = f" {settings.name}" if settings.name else ""
    logging.basicConfig(
        level=settings.log_level.upper(),
        format=f"%(asctime)s %(levelname)s{name} %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logging.captureWarnings(capture=True)
