"""Reads what a request says outside its body: ids, query, headers."""

import base64
import binascii
import math
import re

from aiohttp import web

from common import errors
from common.domain import Task
from common.store import TaskCursor
from gateway.views.problems import BadRequest

LONGEST_WAIT = 60
"""Seconds that a request may wait for news."""
LARGEST_PAGE = 100
DEFAULT_PAGE = 20

_TASK_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_KEY = re.compile(r"[ -~]{1,255}", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3})?", re.ASCII)
_COUNT = re.compile(r"[0-9]{1,9}", re.ASCII)
_PREFER_WAIT = re.compile(
    r"(?:^|[,;\s])wait\s*=\s*\"?([0-9]{1,9})(?![0-9])", re.ASCII | re.IGNORECASE
)


def task_id(request: web.Request) -> str:
    """Return the id in the path. Raises `errors.UnknownTask` if it cannot be one of ours."""
    given = request.match_info["task_id"]
    if not _TASK_ID.fullmatch(given):
        raise errors.UnknownTask(task_id="of that id: ours look like a UUID")
    return given


def wait(request: web.Request) -> float:
    """Return the seconds that ``?wait=`` asks for, 0 without it."""
    given = request.query.get("wait", "0")
    if not _SECONDS.fullmatch(given) or float(given) > LONGEST_WAIT:
        raise BadRequest(f"wait must be 0 to {LONGEST_WAIT} seconds.")
    return float(given)


def preferred_wait(request: web.Request) -> int:
    """Return the seconds of ``Prefer: wait=`` (RFC 7240), 0 without; preferences never fail."""
    found = _PREFER_WAIT.search(",".join(request.headers.getall("Prefer", [])))
    return min(int(found[1]), LONGEST_WAIT) if found else 0


def limit(request: web.Request) -> int:
    """Return how many tasks a page may have."""
    given = request.query.get("limit", str(DEFAULT_PAGE))
    if not _COUNT.fullmatch(given) or not 1 <= int(given) <= LARGEST_PAGE:
        raise BadRequest(f"limit must be 1 to {LARGEST_PAGE}.")
    return int(given)


def idempotency_key(request: web.Request) -> str | None:
    """Return the Idempotency-Key header."""
    given = request.headers.get("Idempotency-Key")
    if given is not None and not _KEY.fullmatch(given):
        raise BadRequest("Idempotency-Key must be 1 to 255 printable ASCII characters.")
    return given


def versions_held(request: web.Request) -> list[int]:
    """Return the versions that If-None-Match names, in any order."""
    return [int(tag.value) for tag in request.if_none_match or () if _COUNT.fullmatch(tag.value)]


def cursor(request: web.Request) -> TaskCursor | None:
    """Return where the page before ended."""
    given = request.query.get("cursor")
    if given is None:
        return None
    try:
        text = base64.b64decode(given.encode(), b"-_", validate=True).decode("ascii")
        created_at, _, last_id = text.partition(" ")
        found = TaskCursor(float.fromhex(created_at), last_id)
    except (binascii.Error, ValueError, OverflowError):
        found = TaskCursor(math.nan, "")
    if not math.isfinite(found.created_at) or not _TASK_ID.fullmatch(found.task_id):
        raise BadRequest("cursor must be a next_cursor that a page gave, unchanged.")
    return found


def cursor_after(task: Task) -> str:
    """Return the cursor for the tasks older than this one."""
    return base64.urlsafe_b64encode(f"{task.created_at.hex()} {task.task_id}".encode()).decode()
