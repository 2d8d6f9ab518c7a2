"""Reads what a request says outside its body: ids in the path, the query, headers.

Each function takes the part of the request that it reads and returns a value, or raises `BadRequest`.
"""

import base64
import binascii
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from aiohttp import ETag
from multidict import MultiMapping

from common import errors
from common.domain import Task
from common.store import TaskCursor
from gateway.views.problems import BadRequest

LONGEST_WAIT = 60
"""Seconds that a client may wait for news in one request."""
LARGEST_PAGE = 100
DEFAULT_PAGE = 20

_TASK_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_KEY = re.compile(r"[ -~]{1,255}", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3})?", re.ASCII)
_COUNT = re.compile(r"[0-9]{1,9}", re.ASCII)
_PREFER_WAIT = re.compile(
    r"(?:^|[,;\s])wait\s*=\s*\"?([0-9]{1,9})(?![0-9])", re.ASCII | re.IGNORECASE
)


def task_id(path: Mapping[str, str]) -> str:
    """Return the id in the path.

    Raises:
        errors.UnknownTask: No task can have this id.

    """
    given = path["task_id"]
    if not _TASK_ID.fullmatch(given):
        raise errors.UnknownTask(task_id="with that id: task ids look like UUIDs")
    return given


def refuse_unknown(query: MultiMapping[str], known: Collection[str]) -> None:
    """Refuse a query with a parameter that the call does not read, or with one that is given twice."""
    for name in query:
        if name not in known:
            listed = " and ".join(known) if known else "none"
            raise BadRequest(f"There is no query parameter `{name[:40]}` here; known: {listed}.")
        if len(query.getall(name)) > 1:
            raise BadRequest(f"The query parameter `{name}` is given more than once.")


def wait(query: Mapping[str, str]) -> float:
    """Return the seconds that ``?wait=`` asks for; 0 without it."""
    given = query.get("wait", "0")
    if not _SECONDS.fullmatch(given) or float(given) > LONGEST_WAIT:
        raise BadRequest(f"wait must be a number of seconds from 0 to {LONGEST_WAIT}.")
    return float(given)


def erase(query: Mapping[str, str]) -> bool:
    """Return whether ``?erase=true`` asks for a task to be erased and not only cancelled."""
    given = query.get("erase", "false")
    if given not in ("true", "false"):
        raise BadRequest("erase must be true or false.")
    return given == "true"


def preferred_wait(prefer: Sequence[str]) -> int:
    """Return the seconds of ``Prefer: wait=`` (RFC 7240); 0 without it. Preferences never fail."""
    found = _PREFER_WAIT.search(",".join(prefer))
    return min(int(found[1]), LONGEST_WAIT) if found else 0


def limit(query: Mapping[str, str]) -> int:
    """Return how many tasks a page may have."""
    given = query.get("limit", str(DEFAULT_PAGE))
    if not _COUNT.fullmatch(given) or not 1 <= int(given) <= LARGEST_PAGE:
        raise BadRequest(f"limit must be an integer from 1 to {LARGEST_PAGE}.")
    return int(given)


def idempotency_key(headers: Mapping[str, str]) -> str | None:
    """Return the Idempotency-Key, if there is one."""
    given = headers.get("Idempotency-Key")
    if given is not None and not _KEY.fullmatch(given):
        raise BadRequest("Idempotency-Key must be 1 to 255 printable ASCII characters.")
    return given


def versions_held(if_none_match: Iterable[ETag] | None) -> list[int]:
    """Return the versions of a task that the client holds, in any order."""
    return [int(tag.value) for tag in if_none_match or () if _COUNT.fullmatch(tag.value)]


def cursor(query: Mapping[str, str]) -> TaskCursor | None:
    """Return where the previous page ended; None for the first page."""
    given = query.get("cursor")
    if given is None:
        return None
    try:
        text = base64.b64decode(given.encode(), b"-_", validate=True).decode("ascii")
        created_at, _, last_id = text.partition(" ")
        found = TaskCursor(float.fromhex(created_at), last_id)
    except (binascii.Error, ValueError, OverflowError):
        found = TaskCursor(math.nan, "")
    if not math.isfinite(found.created_at) or not _TASK_ID.fullmatch(found.task_id):
        raise BadRequest("cursor must be the next_cursor of a page, unchanged.")
    return found


def cursor_after(task: Task) -> str:
    """Return the cursor that continues after this task, with older ones."""
    return base64.urlsafe_b64encode(f"{task.created_at.hex()} {task.task_id}".encode()).decode()
