"""Passwords of the servers that we depend on: read from files, and refused if they are well known."""

import re
import urllib.parse
from pathlib import Path

from common import errors
from common.runtime.hosts import is_loopback

WELL_KNOWN = frozenset(
    {
        "administrator",
        "password",
        "passw0rd",
        "changeme",
        "change-me",
        "factorline",
        "rabbitmq",
        "operator",
    }
)
SHORTEST = 8
"""Anything shorter (``guest``, ``admin``, ``secret``, ``test``) counts as well known, too."""


def inserted(url: str, file: str, *, name: str) -> str:
    """Return an address with the password from a file inserted after the user name.

    Args:
        url: The address, which names a user and no password.
        file: The path of the file; the address stays as it is if this is empty.
        name: The setting that names the file, for errors.

    Raises:
        errors.SettingError: The file cannot be read, or the address has no user, or a password already.

    """
    if not file:
        return url
    try:
        password = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError) as error:
        raise errors.SettingError(name=name, value=file, why=str(error)) from error
    scheme, _, rest = url.partition("://")
    user, at, place = rest.partition("@")
    if not at or ":" in user:
        raise errors.SettingError(
            name=name,
            value=file,
            why="its address must name a user and no password, as in amqp://user@host/",
        )
    return f"{scheme}://{user}:{urllib.parse.quote(password, safe='')}@{place}"


def refuse_defaults(name: str, url: str, *, implied: str = "") -> None:
    """Refuse an address on another machine whose password is well known.

    Args:
        name: The setting.
        url: The address; no message shows it.
        implied: The password that a client uses if the address names no user.

    Raises:
        errors.SettingError: The password is well known, equal to the user name, or too short.

    """
    if not url:
        return
    before, at, place = urllib.parse.urlsplit(url).netloc.rpartition("@")
    user, colon, password = before.partition(":")
    password = urllib.parse.unquote(password) if at else implied
    if not password and not colon:  # a certificate, or no authentication at all
        return
    known = password.lower() in {*WELL_KNOWN, user.lower()} or len(password) < SHORTEST
    if known and not all(is_loopback(_host(each)) for each in place.split(",")):
        raise errors.SettingError(
            name=name,
            value="…",
            why="its password is well known or easy to guess; make a new one, for example with "
            "`openssl rand -hex 24`",
        )


def _host(host_and_port: str) -> str:
    return re.sub(r":[0-9]+$", "", host_and_port).strip("[]")
