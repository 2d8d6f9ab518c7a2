"""Settings: read once from the environment, checked at once, handed down as a value."""

import os
import platform
import re
import urllib.parse
from collections.abc import Mapping
from typing import Self

import msgspec

from common import errors
from common.runtime import passwords

SECRETS = ("FACTORLINE_AMQP_URL", "FACTORLINE_MONGODB_URI")
"""Variables that hold passwords; no child process may see them."""


UNVERIFIED = {
    "amqp_url": {"no_verify_ssl"},
    "mongodb_uri": {
        "tlsinsecure",
        "tlsallowinvalidcertificates",
        "tlsallowinvalidhostnames",
        "ssl_cert_reqs",
    },
}
"""Options of addresses, in lower case, that would take any certificate for the server's."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every field is the environment variable of its name in capitals, after ``FACTORLINE_``."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8080
    """Port to listen on; 0 takes a free one."""
    metrics: str = ""
    """Where a gateway or worker shows /metrics and /healthz to operators, such as 127.0.0.1:9100. No key is
    asked for: keep it off public addresses."""
    name: str = ""
    """This process's name in logs and in RabbitMQ's management page; gateway@MACHINE or worker@MACHINE."""
    keys: bool = False
    """Whether clients need an API key (`factorline keys make`); without, everybody may do everything."""
    insecure: bool = False
    """Whether a public address may be served without keys."""
    origins: str = ""
    """Other sites whose pages may open WebSockets, comma-separated, such as https://app.example."""
    data: str = ".factorline"
    """The folder of the embedded store."""
    amqp_url: str = ""
    """RabbitMQ's address, password included; without it the broker is inside the process."""
    amqp_password_file: str = ""
    """A file with the password of the user in FACTORLINE_AMQP_URL, which then has none in it."""
    mongodb_uri: str = ""
    """MongoDB's address, password included; without it the store is a file."""
    mongodb_password_file: str = ""
    """A file with the password of the user in FACTORLINE_MONGODB_URI, which then has none in it."""
    management_url: str = ""
    """RabbitMQ's management page as an operator's browser reaches it; the status view links to it."""
    slots: int = os.cpu_count() or 1
    """Units computed at a time by a worker, besides as many surveys."""
    max_digits: int = 1000
    """The largest number that is accepted, in decimal digits (at most 4 000)."""
    max_body_bytes: int = 1 << 20
    """The largest request body."""
    max_batch: int = 1000
    """Numbers in one batch."""
    max_sockets: int = 10_000
    """WebSockets of one gateway."""
    max_subscriptions: int = 1000
    """Tasks that one WebSocket may watch."""
    max_key_sockets: int = 1000
    """WebSockets of one key in one gateway."""
    max_key_subscriptions: int = 20_000
    """Tasks that all WebSockets of one key may watch in one gateway."""
    unit_seconds: float = 900.0
    """Wall-clock limit of one unit."""
    memory_mb: int = 2048
    """Memory limit of one child process."""
    sieve_digits: int = 100
    """The largest composite that is sieved, in decimal digits; larger ones get curves only."""
    grace_seconds: float = 10.0
    """How long a stopping worker lets units finish."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the settings; raise `errors.SettingError` that names the variable at fault."""
        prefix = "FACTORLINE_"
        given = {
            field: environ[prefix + field.upper()]
            for field in cls.__struct_fields__
            if prefix + field.upper() in environ
        }
        for field, value in given.items():
            try:
                msgspec.convert({field: value}, type=cls, strict=False)
            except msgspec.ValidationError as error:
                raise errors.SettingError(
                    name=prefix + field.upper(), value=value, why=str(error)
                ) from error
        settings = msgspec.convert(given, type=cls, strict=False)
        settings._check()  # noqa: SLF001 our own
        settings = msgspec.structs.replace(
            settings,
            amqp_url=passwords.inserted(settings.amqp_url, settings.amqp_password_file),
            mongodb_uri=passwords.inserted(settings.mongodb_uri, settings.mongodb_password_file),
        )
        passwords.refuse_defaults("FACTORLINE_AMQP_URL", settings.amqp_url, implied="guest")
        passwords.refuse_defaults("FACTORLINE_MONGODB_URI", settings.mongodb_uri)
        return settings

    def named(self, kind: str) -> Self:
        """Return the settings of a program with a name: the given one, else its kind and machine."""
        return msgspec.structs.replace(self, name=self.name or f"{kind}@{platform.node()}")

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Host and port of `metrics`, None if it is not set."""
        host, _, port = self.metrics.rpartition(":")
        return (host.strip("[]"), int(port)) if self.metrics else None

    def _check(self) -> None:
        if self.metrics and not re.fullmatch(r".+:[0-9]{1,5}", self.metrics, re.ASCII):
            why = "it has to be a host and a port, such as 127.0.0.1:9100"
            raise errors.SettingError(name="FACTORLINE_METRICS", value=self.metrics, why=why)
        limits = {
            "port": (0, 65_535),
            "slots": (1, 1024),
            "max_digits": (1, 4000),
            "max_batch": (1, 100_000),
            "sieve_digits": (0, 110),
            "memory_mb": (128, 1 << 20),
            "unit_seconds": (1, 3600),
            "grace_seconds": (0, 3600),
        }
        for field, (low, high) in limits.items():
            value = getattr(self, field)
            if not low <= value <= high:
                name = f"FACTORLINE_{field.upper()}"
                raise errors.SettingError(name=name, value=value, why=f"{low} to {high} is allowed")

        for field, names in UNVERIFIED.items():
            given = {name.lower() for name, _ in _options(getattr(self, field))}
            for name in sorted(given & names):
                raise errors.SettingError(
                    name=f"FACTORLINE_{field.upper()}",
                    value=f"…{name}…",
                    why="the server's certificate is always verified: name its authority with "
                    + ("cafile" if field == "amqp_url" else "tlsCAFile"),
                )


def _options(url: str) -> list[tuple[str, str]]:
    return urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query, keep_blank_values=True)


def forget_secrets() -> None:
    """Take the secrets out of this process's environment, so that no child inherits them."""
    for name in SECRETS:
        os.environ.pop(name, None)
