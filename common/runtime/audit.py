"""The audit log: who made, used and revoked keys, who cancelled, what was refused, and from where.

    audit.record("Task cancelled", owner="ann", key_id="055d3ff84336", address="10.1.2.3", task_id=…)

Its lines are among the others, with ``"logger": "factorline.audit"``, whatever the level of the log is. They
never contain a key: `key_id` is the beginning of its digest. docs/how-to/operate.md lists the events.
"""

import getpass
import logging
import os
import platform
import time

import structlog

from common.domain import ApiKey

NAME = "factorline.audit"
REFUSALS_A_SECOND = 10
"""More refusals than these are counted and not written: anybody can cause them."""

_log = structlog.wrap_logger(
    None,
    wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
    logger_factory_args=(NAME,),
)


def record(event: str, **fields: object) -> None:
    """Write a line. Fields without a value are left out."""
    _log.info(event, **{name: value for name, value in fields.items() if value})


def record_made(key: ApiKey) -> None:
    """Write that a key was made."""
    record(
        "API key made",
        key_id=key.key_id,
        name=key.name,
        owner=key.owner,
        operator=key.operator,
        by=key.made_by,
    )


class Refusals:
    """Writes lines about refusals, so many a second at most; the next one says how many were left out."""

    def __init__(self) -> None:
        self._second = 0
        self._written = 0
        self._left_out = 0

    def record(self, event: str, **fields: object) -> None:
        """Write a line, or count it."""
        if (second := int(time.monotonic())) != self._second:
            self._second, self._written = second, 0
        if self._written >= REFUSALS_A_SECOND:
            self._left_out += 1
            return
        self._written += 1
        record(event, **fields, left_out=self._left_out)
        self._left_out = 0


def this_user() -> str:
    """Return who runs this program, and on which machine: ``ann@host``."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        name = f"uid {os.getuid()}"
    return f"{name}@{platform.node()}"
