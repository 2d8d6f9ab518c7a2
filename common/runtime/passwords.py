"""Passwords of the servers that we depend on: taken from files, and refused if everybody knows them."""

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
"""Anything shorter (``guest``, ``admin``, ``secret``, ``test``) counts as well known too."""


def inserted(url: str, file: str) -> str:
    """Return an address with the password that is in a file put after its user's name.

    Raises:
        errors.SettingError: The file cannot be read, or the address has no place for it.

    """
    if not file:
        return url
    try:
        password = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError) as error:
        raise errors.SettingError(name="a password file", value=file, why=str(error)) from error
    scheme, _, rest = url.partition("://")
    user, at, place = rest.partition("@")
    if not at or ":" in user:
        raise errors.SettingError(
            name="a password file",
            value=file,
            why="the address that it is for has to be like amqp://user@host/, without a password",
        )
    return f"{scheme}://{user}:{urllib.parse.quote(password, safe='')}@{place}"


def refuse_defaults(name: str, url: str, *, implied: str = "") -> None:
    """Refuse an address that leads beyond this machine with a password that everybody knows.

    Args:
        name: The setting.
        url: The address, which is not shown.
        implied: The password that a client takes if the address has no user.

    Raises:
        errors.SettingError: The password is well known, the user's name, or too short.

    """
    if not url:
        return
    before, at, place = urllib.parse.urlsplit(url).netloc.rpartition("@")
    user, colon, password = before.partition(":")
    password = urllib.parse.unquote(password) if at else implied
    if not password and not colon:  # a certificate, or nothing at all, is no password
        return
    known = password.lower() in {*WELL_KNOWN, user.lower()} or len(password) < SHORTEST
    if known and not all(is_loopback(_host(each)) for each in place.split(",")):
        raise errors.SettingError(
            name=name,
            value="…",
            why="its password is one that everybody knows or can guess; make one, for example with "
            "`openssl rand -hex 24`",
        )


def _host(host_and_port: str) -> str:
    return re.sub(r":[0-9]+$", "", host_and_port).strip("[]")
