"""Makes, lists and revokes API keys in the store that the settings name.

    python -m gateway.access.keyring make ann --owner ann --tasks 100
    python -m gateway.access.keyring list
    python -m gateway.access.keyring revoke 055d3ff84336

`factorline keys` does the same. A gateway may be running or not.
"""

import argparse
import asyncio
import math
import re
import sys
import time
from collections.abc import Sequence

from common import errors
from common.domain import ApiKey, KeyLimits, new_key
from common.domain.api_keys import NAME
from common.runtime import audit, hosts
from common.runtime.logs import configure_logging
from common.runtime.settings import Settings
from common.store import Store
from common.store.factory import open_store, sqlite_path


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(prog="factorline keys", description="API keys of the service.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    make = verbs.add_parser("make", help="make a key and print it; it is not shown again")
    make.add_argument("name", type=_name, help="who or what the key is for")
    make.add_argument("--owner", type=_name, help="owner of the key's tasks (default: the name)")
    make.add_argument(
        "--operator", action="store_true", help="the key also gives access to /status and /metrics"
    )
    make.add_argument(
        "--read-only", action="store_true", help="the key may neither submit nor cancel"
    )
    make.add_argument(
        "--expires", type=_seconds, metavar="TIME", help="such as 90d or 12h (default: never)"
    )
    make.add_argument(
        "--from",
        dest="networks",
        type=_networks,
        default=(),
        metavar="NETWORKS",
        help="where it may be used, such as 10.0.0.0/8,2001:db8::/32 (default: everywhere)",
    )
    make.add_argument(
        "--requests-per-second", type=_positive, metavar="RATE", help="default: no limit"
    )
    make.add_argument(
        "--burst", type=_count, help="requests that may come at once (default: those of one second)"
    )
    make.add_argument(
        "--tasks", type=_count, help="tasks that may be in progress (default: no limit)"
    )
    make.add_argument(
        "--cpu-seconds", type=_positive, metavar="SECONDS", help="per day, UTC (default: no limit)"
    )
    verbs.add_parser("list", help="list all keys")
    revoke = verbs.add_parser(
        "revoke", help="revoke a key; gateways refuse it within seconds, for good"
    )
    revoke.add_argument("key_id", help="the id that `list` shows")
    asked = parser.parse_args(given)
    if asked.verb == "make" and asked.burst and not asked.requests_per_second:
        parser.error("--burst needs --requests-per-second")
    return asked


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a valid name: use 1 to 64 letters, digits and . _ @ -"
        )
    return text


def _positive(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError("it must be more than 0")
    return value


def _seconds(text: str) -> float:
    found = re.fullmatch(r"([0-9]{1,6})([dh])", text, re.ASCII)
    if found is None or not int(found[1]):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time: use a number of days or hours, such as 90d or 12h"
        )
    return int(found[1]) * (86_400.0 if found[2] == "d" else 3600.0)


def _networks(text: str) -> tuple[str, ...]:
    try:
        found = tuple(str(network) for network in hosts.networks(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if not found:
        raise argparse.ArgumentTypeError("name at least one network")
    return found


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("it must be at least 1")
    return value


async def run(asked: argparse.Namespace, settings: Settings) -> str:
    """Do what the command line asks for; return what to print.

    Raises:
        errors.NoStore: There is no store to look for keys in.
        errors.UnknownKey: There is no key to revoke with this id.
        errors.StoreUnavailable: The store does not answer.

    """
    path = sqlite_path(settings)
    if asked.verb != "make" and not settings.mongodb_uri and not path.exists():
        raise errors.NoStore(path=path.absolute())
    async with open_store(settings) as store:
        match asked.verb:
            case "make":
                return await _make(asked, store)
            case "list":
                now = store.now()
                return (
                    "".join(_line(key, now) for key in await store.list_keys()) or "No API keys.\n"
                )
            case _:
                by = audit.this_user()
                key = await store.revoke_key(asked.key_id, store.now(), by=by)
                audit.record("API key revoked", key_id=key.key_id, owner=key.owner, by=by)
                return f"Key {key.key_id} ({key.name}) is revoked.\n"


async def _make(asked: argparse.Namespace, store: Store) -> str:
    limits = KeyLimits(
        requests_per_second=asked.requests_per_second,
        burst=asked.burst,
        tasks=asked.tasks,
        cpu_seconds_a_day=asked.cpu_seconds,
    )
    now = store.now()
    made = new_key(
        asked.name,
        owner=asked.owner,
        operator=asked.operator,
        read_only=asked.read_only,
        networks=asked.networks,
        limits=limits,
        expires_at=None if asked.expires is None else now + asked.expires,
        made_by=audit.this_user(),
        now=now,
    )
    await store.insert_key(made.key)
    audit.record_made(made.key)
    print(  # noqa: T201 for people; standard output gets the key alone
        f"Made key {made.key.key_id} for owner {made.key.owner}. Save it now: it is not stored, and "
        "cannot be shown again.",
        file=sys.stderr,
    )
    return f"{made.secret}\n"


def _line(key: ApiKey, now: float) -> str:
    limits = key.limits
    words = [
        key.key_id,
        f"{key.name:20}",
        f"owner {key.owner}",
        f"created {_day(key.created_at)}{_by(key.made_by)}",
        f"last used {_day(key.last_used_at)}" if key.last_used_at is not None else "never used",
        "operator" if key.operator else "",
        "read-only" if key.read_only else "",
        f"from {','.join(key.networks)}" if key.networks else "",
        f"{limits.requests_per_second:g} requests/s" if limits.requests_per_second else "",
        f"burst {limits.burst}" if limits.burst else "",
        f"{limits.tasks} tasks" if limits.tasks else "",
        f"{limits.cpu_seconds_a_day:g} CPU s/day" if limits.cpu_seconds_a_day else "",
        _end(key, now),
    ]
    return "  ".join(filter(None, words)) + "\n"


def _end(key: ApiKey, now: float) -> str:
    if key.revoked_at is not None:
        return f"REVOKED {_day(key.revoked_at)}{_by(key.revoked_by)}"
    if key.expires_at is None:
        return ""
    return f"{'expires' if key.is_valid(now) else 'EXPIRED'} {_day(key.expires_at)}"


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at))


def _by(who: str) -> str:
    return f" by {who}" if who else ""


def main() -> None:
    """Run the command. A `FactorlineError` ends it with its message and status 1."""
    asked = arguments()
    try:
        settings = Settings.from_environ()
        configure_logging(settings)
        sys.stdout.write(asyncio.run(run(asked, settings)))
    except errors.FactorlineError as error:
        sys.exit(f"factorline keys: {error.for_operators}")


if __name__ == "__main__":
    main()
