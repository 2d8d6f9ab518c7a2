"""Settings: read from the environment once, checked at once, and passed on as a value."""

import os
import platform
import re
import typing
import urllib.parse
from collections.abc import Mapping
from typing import Self

import msgspec

from common import errors
from common.runtime import hosts, passwords

SECRETS = ("FACTORLINE_AMQP_URL", "FACTORLINE_MONGODB_URI")
"""Variables that may contain passwords. No child process may see them."""

LONGEST_UNIT_SECONDS = 1500
"""RabbitMQ's default `consumer_timeout` is 1800 s; this leaves five minutes to settle the unit."""
REASONS = {"unit_seconds": ", because RabbitMQ takes away what a worker has had for half an hour"}
"""Why a number has the bounds that it has, where that is a surprise."""

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_MUST_BE = {bool: "true or false", int: "a whole number", float: "a number"}

UNVERIFIED = {
    "amqp_url": {"no_verify_ssl"},
    "mongodb_uri": {
        "tlsinsecure",
        "tlsallowinvalidcertificates",
        "tlsallowinvalidhostnames",
        "ssl_cert_reqs",
    },
}
"""Options in addresses, in lower case, that would accept any certificate as the server's."""
LISTS = {
    "hosts": (r"[a-z0-9._-]+|[0-9a-f:.]+", "factor.lan, without a scheme or a port"),
    "origins": (r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", "https://app.example"),
}
"""Settings that are lists: what an entry looks like, in lower case, and an example of one."""

PROMISED = {
    "w",
    "wtimeoutms",
    "journal",
    "readconcernlevel",
    "readpreference",
    "readpreferencetags",
    "maxstalenessseconds",
}
"""Options in MongoDB's address, in lower case, on which it depends that nothing is lost."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Each field is read from the environment variable FACTORLINE_ followed by its name in capitals."""

    host: str = "127.0.0.1"
    """The address to listen on."""
    published: str = ""
    """Where a container's port is published to others, such as 127.0.0.1, if the program is in one: then
    FACTORLINE_HOST is an address of the container."""
    port: int = 8080
    """The port to listen on; 0 takes a free one."""
    metrics: str = ""
    """The address on which a program serves /metrics and /healthz to operators, such as 127.0.0.1:9100. It
    asks for no API key, so keep it off public addresses."""
    name: str = ""
    """The name of this process in logs and on RabbitMQ's management page. By default it is gateway@MACHINE or
    worker@MACHINE."""
    keys: bool = False
    """Whether clients need an API key (`factorline keys make`). Without keys everybody may do everything."""
    key_file: str = ""
    """A file that holds an API key, as `make secrets` makes one. A gateway enters it into its store as an
    operator's, unless the store knows the key, revoked or not."""
    insecure: bool = False
    """Whether to serve on a public address without keys."""
    hosts: str = ""
    """Names by which a service without keys may be called, besides localhost, loopback addresses and
    FACTORLINE_HOST, separated by commas, such as factor.lan. A service with keys answers to every name."""
    origins: str = ""
    """Other sites whose pages may call the service (CORS) and open WebSockets, separated by commas, such as
    https://app.example. If the service has keys, their pages need one too."""
    proxies: str = ""
    """Addresses and networks of load balancers, separated by commas, such as 10.0.0.2. What one of them puts
    into X-Forwarded-For is the address of the client."""
    data: str = ".factorline"
    """The folder of the embedded store."""
    amqp_url: str = ""
    """RabbitMQ's address, including the password. Without it the broker is in the process itself."""
    amqp_password_file: str = ""
    """A file that holds the password of the user in FACTORLINE_AMQP_URL, which then contains none."""
    mongodb_uri: str = ""
    """MongoDB's address, including the password. Without it the store is a file."""
    mongodb_password_file: str = ""
    """A file that holds the password of the user in FACTORLINE_MONGODB_URI, which then contains none."""
    management_url: str = ""
    """The address of RabbitMQ's management page for an operator's browser; the status view links to it."""
    slots: int = os.cpu_count() or 1
    """How many units a worker computes at a time, in addition to as many surveys."""
    max_digits: int = 1000
    """The largest number that is accepted, in decimal digits (at most 4 000)."""
    max_body_bytes: int = 1 << 20
    """The largest request body that is accepted."""
    max_batch: int = 1000
    """The most numbers in one batch."""
    max_sockets: int = 10_000
    """The most WebSockets open in one gateway."""
    max_subscriptions: int = 1000
    """The most tasks that one WebSocket may watch."""
    max_key_sockets: int = 1000
    """The most WebSockets of one key in one gateway."""
    max_key_subscriptions: int = 20_000
    """The most tasks that all WebSockets of one key may watch in one gateway."""
    max_key_waits: int = 200
    """The most requests of one key that wait for news (`?wait=`, `Prefer: wait=`) at a time in one gateway;
    more are answered at once."""
    trust_traces: bool = False
    """Whether a request becomes part of the trace that its `traceparent` names, which then decides whether it
    is recorded. Otherwise it gets a trace of its own, with a link to that one."""
    unit_seconds: float = 900.0
    """The wall-clock limit of one unit, at most 1500: RabbitMQ gives a message to somebody else if it has not
    been acknowledged after half an hour."""
    memory_mb: int = 2048
    """The memory limit of one child process, in MiB."""
    sieve_digits: int = 100
    """The largest composite that is sieved, in decimal digits. Larger ones only get curves."""
    grace_seconds: float = 10.0
    """How many seconds a stopping worker waits for units to finish."""
    keep_tasks_days: float = 90.0
    """How many days a task is kept after it has ended; 0 is for ever. What is known of numbers stays."""
    keep_keys_hours: float = 24.0
    """How many hours an Idempotency-Key is kept. Repeated later, the request is a new one."""
    keep_relations_days: float = 30.0
    """How many days the relations of a cancelled sieve are kept, so that it can go on; 0 is for ever."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""
    version: str = "unknown"
    """The version that /status and the OpenAPI document show; whatever starts the program sets it."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read and check the settings; raise an `errors.SettingError` that names the offending variable."""
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
                must = _MUST_BE[typing.get_type_hints(cls)[field]]
                name = prefix + field.upper()
                raise errors.SettingError(
                    name=name, value=value, why=f"it must be {must}"
                ) from error
        settings = msgspec.convert(given, type=cls, strict=False)
        settings._check()  # noqa: SLF001 our own
        settings = msgspec.structs.replace(
            settings,
            amqp_url=passwords.inserted(
                settings.amqp_url,
                settings.amqp_password_file,
                name="FACTORLINE_AMQP_PASSWORD_FILE",
            ),
            mongodb_uri=passwords.inserted(
                settings.mongodb_uri,
                settings.mongodb_password_file,
                name="FACTORLINE_MONGODB_PASSWORD_FILE",
            ),
        )
        passwords.refuse_defaults("FACTORLINE_AMQP_URL", settings.amqp_url, implied="guest")
        passwords.refuse_defaults("FACTORLINE_MONGODB_URI", settings.mongodb_uri)
        return settings

    def named(self, kind: str) -> Self:
        """Return the settings with a name for the process: the given one, or its kind and machine."""
        return msgspec.structs.replace(self, name=self.name or f"{kind}@{platform.node()}")

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """The host and the port in `metrics`, or None if it is not set."""
        host, _, port = self.metrics.rpartition(":")
        return (host.strip("[]"), int(port)) if self.metrics else None

    def _check(self) -> None:
        self._check_words()
        self._check_addresses()
        for field, (pattern, example) in LISTS.items():
            value = getattr(self, field)
            if not all(re.fullmatch(pattern, entry, re.ASCII) for entry in listed(value)):
                raise errors.SettingError(
                    name=f"FACTORLINE_{field.upper()}",
                    value=value,
                    why=f"each entry must be one such as {example}; separate several by commas",
                )
        if self.metrics and not re.fullmatch(r".+:[0-9]{1,5}", self.metrics, re.ASCII):
            why = "it must be a host and a port, such as 127.0.0.1:9100"
            raise errors.SettingError(name="FACTORLINE_METRICS", value=self.metrics, why=why)

    def _check_words(self) -> None:
        if self.log_level.upper() not in LOG_LEVELS:
            why = f"it must be {', '.join(LOG_LEVELS[:-1])} or {LOG_LEVELS[-1]}"
            raise errors.SettingError(name="FACTORLINE_LOG_LEVEL", value=self.log_level, why=why)
        try:
            hosts.networks(self.proxies)
        except ValueError as error:
            name = "FACTORLINE_PROXIES"
            raise errors.SettingError(name=name, value=self.proxies, why=str(error)) from error
        limits = {
            "port": (0, 65_535),
            "slots": (1, 1024),
            "max_digits": (1, 4000),
            "max_batch": (1, 100_000),
            "sieve_digits": (0, 110),
            "memory_mb": (128, 1 << 20),
            "unit_seconds": (1, LONGEST_UNIT_SECONDS),
            "grace_seconds": (0, 3600),
            "keep_tasks_days": (0, 36_500),
            "keep_keys_hours": (1, 8760),
            "keep_relations_days": (0, 36_500),
        }
        for field, (low, high) in limits.items():
            value = getattr(self, field)
            if not low <= value <= high:
                name = f"FACTORLINE_{field.upper()}"
                why = f"it must be {low} to {high}{REASONS.get(field, '')}"
                raise errors.SettingError(name=name, value=value, why=why)

    def _check_addresses(self) -> None:
        for field, names in UNVERIFIED.items():
            given = {name.lower() for name, _ in _options(getattr(self, field))}
            for name in sorted(given & names):
                raise errors.SettingError(
                    name=f"FACTORLINE_{field.upper()}",
                    value=f"…{name}…",
                    why="the server's certificate is always verified; name the authority that signed it with "
                    + ("cafile" if field == "amqp_url" else "tlsCAFile"),
                )
        for name, _ in _options(self.mongodb_uri):
            if name.lower() in PROMISED:
                raise errors.SettingError(
                    name="FACTORLINE_MONGODB_URI",
                    value=f"…{name}…",
                    why="a majority has what is written and what is read, always; leave it out",
                )


def _options(url: str) -> list[tuple[str, str]]:
    return urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query, keep_blank_values=True)


def listed(value: str) -> list[str]:
    """Return the entries of a setting that is a list, in lower case."""
    return [entry.strip().lower() for entry in value.split(",") if entry.strip()]


def forget_secrets() -> None:
    """Remove the secrets from this process's environment, so that no child process inherits them."""
    for name in SECRETS:
        os.environ.pop(name, None)
