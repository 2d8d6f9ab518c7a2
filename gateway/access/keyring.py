"""`python -m gateway.access.keyring make|list|revoke`: API keys, in the store that the settings name.

`factorline keys` is the same. It works on the store directly, with a gateway running or not.
"""

import argparse
import asyncio
import math
import sys
import time
from collections.abc import Sequence

from common import errors
from common.domain import ApiKey, KeyLimits, new_key
from common.domain.api_keys import NAME
from common.runtime.settings import Settings
from common.store import Store
from common.store.factory import open_store


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(prog="factorline keys", description="API keys of the service.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    make = verbs.add_parser("make", help="make a key and print it, once")
    make.add_argument("name", type=_name, help="what the key is for")
    make.add_argument("--owner", type=_name, help="whose tasks it opens; default: the name")
    make.add_argument("--operator", action="store_true", help="opens /status and /metrics too")
    make.add_argument("--requests-per-second", type=_positive, metavar="RATE")
    make.add_argument("--burst", type=_count, help="requests at once; default: those of a second")
    make.add_argument("--tasks", type=_count, help="tasks in progress")
    make.add_argument("--cpu-seconds", type=_positive, metavar="SECONDS", help="in a day (UTC)")
    verbs.add_parser("list", help="list all keys")
    revoke = verbs.add_parser("revoke", help="revoke a key for good, within seconds")
    revoke.add_argument("key_id", help="the id that `list` shows")
    asked = parser.parse_args(given)
    if asked.verb == "make" and asked.burst and not asked.requests_per_second:
        parser.error("--burst says nothing without --requests-per-second")
    return asked


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise argparse.ArgumentTypeError("names are 1 to 64 letters, digits and . _ @ -")
    return text


def _positive(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError("it must be more than 0")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("it must be 1 or more")
    return value


async def run(asked: argparse.Namespace, settings: Settings) -> str:
    """Do it and return what to print."""
    async with open_store(settings) as store:
        match asked.verb:
            case "make":
                return await _make(asked, store)
            case "list":
                return "".join(_line(key) for key in await store.list_keys()) or "no keys\n"
            case _:
                key = await store.revoke_key(asked.key_id, time.time())
                return f"{key.key_id} ({key.name}) opens nothing from now on\n"


async def _make(asked: argparse.Namespace, store: Store) -> str:
    limits = KeyLimits(
        requests_per_second=asked.requests_per_second,
        burst=asked.burst,
        tasks=asked.tasks,
        cpu_seconds_a_day=asked.cpu_seconds,
    )
    made = new_key(
        asked.name, owner=asked.owner, operator=asked.operator, limits=limits, now=time.time()
    )
    await store.insert_key(made.key)
    print(  # noqa: T201 for people; the key alone goes to the standard output
        f"Key {made.key.key_id} of {made.key.owner}. It is shown once, and nothing else knows it:",
        file=sys.stderr,
    )
    return f"{made.secret}\n"


def _line(key: ApiKey) -> str:
    limits = key.limits
    words = [
        key.key_id,
        f"{key.name:20}",
        f"owner {key.owner}",
        f"made {time.strftime('%Y-%m-%d', time.gmtime(key.created_at))}",
        "operator" if key.operator else "",
        f"{limits.requests_per_second:g} requests/s" if limits.requests_per_second else "",
        f"burst {limits.burst}" if limits.burst else "",
        f"{limits.tasks} tasks" if limits.tasks else "",
        f"{limits.cpu_seconds_a_day:g} CPU s a day" if limits.cpu_seconds_a_day else "",
        "REVOKED" if key.revoked_at is not None else "",
    ]
    return "  ".join(filter(None, words)) + "\n"


def main() -> None:
    """Run the command; a `FactorlineError` ends it with its message and status 1."""
    asked = arguments()
    try:
        sys.stdout.write(asyncio.run(run(asked, Settings.from_environ())))
    except errors.FactorlineError as error:
        sys.exit(f"factorline keys: {error}")


if __name__ == "__main__":
    main()
