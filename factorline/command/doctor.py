"""The verb `doctor`: checks everything that a working installation needs, and says what is wrong."""

import asyncio
import importlib.metadata
import logging
import os
import shutil
import urllib.parse
from collections.abc import AsyncIterator, Coroutine, Iterable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from factorline.command import launch, texts
from factorline.command.exits import Exit
from factorline.errors import FactorlineError, InvalidURL
from factorline.models import Health
from factorline.transport import SUBPROTOCOL, Transport

RETRY_SECONDS = 2.0
ANSWER_SECONDS = 10.0
LONGEST_REASON = 300
"""Characters; the messages of some libraries are very long."""


class Finding(msgspec.Struct, frozen=True):
    """The outcome of one check."""

    what: str
    well: bool
    says: str


def doctor(url: str, *, json: bool) -> Exit:
    """Check everything; print one line for each finding."""
    logging.disable()  # what libraries would log becomes a finding
    well = True

    async def work() -> None:
        nonlocal well
        async for finding in _findings(url):
            well = well and finding.well
            mark = "ok   " if finding.well else "WRONG"
            shown = f"{mark} {finding.what:12} {finding.says}"
            print(texts.encoded(finding) if json else shown, flush=True)

    try:
        asyncio.run(work())
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    return Exit.OK if well else Exit.INCOMPLETE


async def _findings(url: str) -> AsyncIterator[Finding]:
    key = os.environ.get("FACTORLINE_API_KEY")
    try:
        transport = Transport(url, key, retry_for_s=RETRY_SECONDS)
    except InvalidURL as error:
        yield Finding("address", well=False, says=str(error))
    else:
        async with transport:
            alive = await _checked("gateway", _alive(transport))
            yield alive
            if alive.well:
                yield await _checked("readiness", _ready(transport))
                yield await _checked("websocket", _socket(transport))
                yield await _checked("your tasks", _tasks(transport, key))
    if not launch.server_is_installed():
        return
    for name, what, probe in (
        ("FACTORLINE_AMQP_URL", "rabbitmq", _rabbitmq),
        ("FACTORLINE_MONGODB_URI", "mongodb", _mongodb),
    ):
        if address := os.environ.get(name):
            yield await _checked(what, probe(address), hide=address)
    yield _ecm()


async def _checked(what: str, check: Coroutine[Any, Any, str], *, hide: str = "") -> Finding:
    """Return the finding of a check, never with a password in it."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return Finding(what, well=True, says=await check)
    except TimeoutError:
        why = f"no answer within {ANSWER_SECONDS:g} s"
    except Exception as error:  # noqa: BLE001 whatever a library raises is a finding
        why = str(error) or type(error).__name__
    if password := urllib.parse.urlsplit(hide).password:
        why = why.replace(password, "…")
    where = f"{_without_password(hide)}: " if hide else ""
    if "Connect call failed" in why:  # what libraries say about a refused connection
        why = "no answer: is it running?"
    return Finding(what, well=False, says=where + why[:LONGEST_REASON])


async def _alive(transport: Transport) -> str:
    health = (await transport.request("GET", "/healthz")).read(Health)
    return f"{transport.url} answers: {health.status}"


async def _ready(transport: Transport) -> str:
    response = await transport.request("GET", "/readyz", retry_for_s=0.0)
    if response.status == 404:  # noqa: PLR2004 how a gateway says that it is draining
        raise FactorlineError("the gateway is shutting down: restart it, or use another one")
    health = response.read(Health)
    if not health.broker_connected:
        raise FactorlineError(
            "the gateway has lost its broker: it accepts numbers, but they wait until the broker is back"
        )
    return f"{health.status}: the store answers and the broker is connected"


async def _socket(transport: Transport) -> str:
    try:
        async with await transport.socket() as socket:
            hello = await socket.receive_json()
    except (aiohttp.ClientError, TypeError) as error:
        raise FactorlineError(
            f"WebSockets do not work ({error}): a proxy has to pass on the `Upgrade` header. "
            "Until then clients poll, which is slower"
        ) from error
    if socket.protocol != SUBPROTOCOL:
        raise FactorlineError(
            f"the subprotocol is {socket.protocol} instead of {SUBPROTOCOL}: a proxy drops the header"
        )
    return f"{SUBPROTOCOL}, {hello['limits']['subscriptions']} subscriptions per socket"


async def _tasks(transport: Transport, key: str | None) -> str:
    response = await transport.request("GET", "/tasks", params={"limit": "1"})
    response.read(dict[str, Any])
    return "the API key is valid" if key else "no API key is set, and none is needed"


async def _rabbitmq(address: str) -> str:
    import aiormq  # noqa: PLC0415 it is in the extra `server`

    connection = await aiormq.connect(address)
    try:
        version = connection.server_properties.get("version", "")
    finally:
        await connection.close()
    return f"{_without_password(address)} accepts the connection, version {_text(version)}"


async def _mongodb(address: str) -> str:
    import pymongo  # noqa: PLC0415 it is in the extra `server`

    milliseconds = int(RETRY_SECONDS * 1000)
    async with pymongo.AsyncMongoClient[dict[str, Any]](
        address, serverSelectionTimeoutMS=milliseconds, connectTimeoutMS=milliseconds
    ) as mongo:
        info = await mongo.server_info()
        await mongo.get_default_database("factorline").list_collection_names()
    return f"{_without_password(address)} accepts the connection, version {info['version']}"


def _ecm() -> Finding:
    """Look for the GMP-ECM program where a worker on this machine would."""
    for path in _places_of_ecm():
        if os.access(path, os.X_OK):
            return Finding("ecm", well=True, says=f"a worker here would use {path}")
    how = "install it, for example with: apt-get install gmp-ecm"
    return Finding("ecm", well=False, says=f"a worker here would not find GMP-ECM: {how}")


def _places_of_ecm() -> Iterable[Path]:
    try:
        wheel = importlib.metadata.distribution("passagemath-libecm")
        yield Path(str(wheel.locate_file("sage_wheels/bin/ecm")))
    except importlib.metadata.PackageNotFoundError:
        pass
    if on_path := shutil.which("ecm"):
        yield Path(on_path)


def _without_password(address: str) -> str:
    parts = urllib.parse.urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
