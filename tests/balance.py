"""Which tests one worker of pytest-xdist runs together, and which of them begin first.

A service that takes seconds to start is started once in a run: what needs it is one group, and a
group stays on one worker. Everything else is shared out by the file.
"""

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

GROUPS = {
    "tests/browser/test_stack.py": "stack",
    "tests/stack": "stack",
    "tests/browser": "browser",
    "tests/client": "client",
    "tests/access/test_keyring.py": "servers",
    "tests/access/test_tls.py": "servers",
    "tests/contract": "servers",
    "tests/local/test_servers.py": "servers",
    "tests/docs": "docs",
    "tests/chaos/test_rows.py": "laboratory",
}
"""The service that files or folders share; the first entry that fits counts."""

ORDER = (
    "tests/unit",
    "tests/packaging",
    "stack",
    "browser",
    "client",
    "servers",
    "laboratory",
    "docs",
)
"""What begins first: pure code, whose failures say most, then what takes long, the longest first.

The single files come last and fill up the workers that are free, so that all end at the same time.
"""


def group_of(nodeid: str) -> str:
    """Return what a test belongs to: the name of a group, or the path of its file."""
    path = nodeid.partition("::")[0]
    fits = (name for place, name in GROUPS.items() if f"{path}/".startswith(f"{place}/"))
    return next(fits, path)


def place_of(nodeid: str) -> int:
    """Return a number by which tests are sorted, and otherwise left in their order."""
    group = group_of(nodeid)
    starts = (place for place, start in enumerate(ORDER) if group.startswith(start))
    return next(starts, len(ORDER))


class ByService(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out whole groups, in the order in which the tests were collected."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)
