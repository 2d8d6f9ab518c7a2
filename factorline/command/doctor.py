"""The verb `doctor`: asks everything that a working installation needs, and says in words what is wrong."""

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

from factorline.command import texts
from factorline.command.exits import Exit
from factorline.errors import FactorlineError, InvalidURL
from factorline.models import Health
from factorline.transport import SUBPROTOCOL, Transport

TRY_SECONDS = 2.0
ANSWER_SECONDS = 10.0
LONGEST_REASON = 300
"""Some libraries add everything they know."""


class Finding(msgspec.Struct, frozen=True):
    """What one question brought to light."""

    what: str
    well: bool
    says: str


def doctor(url: str, *, json: bool) -> Exit:
    """Examine everything; print a line for each finding."""
    logging.disable()  # libraries log what becomes a finding here
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
        transport = Transport(url, key, patience_s=TRY_SECONDS)
    except InvalidURL as error:
        yield Finding("address", well=False, says=str(error))
    else:
        async with transport:
            alive = await _asked("gateway", _alive(transport))
            yield alive
            if alive.well:
                yield await _asked("readiness", _ready(transport))
                yield await _asked("websocket", _socket(transport))
                yield await _asked("your tasks", _tasks(transport, key))
    for name, what, probe in (
        ("FACTORLINE_AMQP_URL", "rabbitmq", _rabbitmq),
        ("FACTORLINE_MONGODB_URI", "mongodb", _mongodb),
    ):
        if address := os.environ.get(name):
            yield await _asked(what, probe(address), hide=address)
    yield _ecm()


async def _asked(what: str, answer: Coroutine[Any, Any, str], *, hide: str = "") -> Finding:
    """Return what an answer, or the lack of it, means; no password is ever shown."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return Finding(what, well=True, says=await answer)
    except TimeoutError:
        why = f"no answer within {ANSWER_SECONDS:g} s"
    except Exception as error:  # noqa: BLE001 whatever a library raises is a finding
        why = str(error) or type(error).__name__
    if password := urllib.parse.urlsplit(hide).password:
        why = why.replace(password, "…")
    where = f"{_without_password(hide)}: " if hide else ""
    if "Connect call failed" in why:  # what libraries make of a refused connection
        why = "nobody answers there: is it running?"
    return Finding(what, well=False, says=where + why[:LONGEST_REASON])


async def _alive(transport: Transport) -> str:
    health = (await transport.request("GET", "/healthz")).read(Health)
    return f"{transport.url} answers: {health.status}"


async def _ready(transport: Transport) -> str:
    response = await transport.request("GET", "/readyz", patience_s=0.0)
    if response.status == 404:  # noqa: PLR2004 how a gateway says that it is draining
        message = "the gateway is leaving and takes nothing new: restart it, or ask another one"
        raise FactorlineError(message)
    health = response.read(Health)
    if not health.broker_connected:
        message = "the gateway has lost its broker: numbers are accepted, and wait until it is back"
        raise FactorlineError(message)
    return f"{health.status}, the store answers, the broker is connected"


async def _socket(transport: Transport) -> str:
    try:
        async with await transport.socket() as socket:
            hello = await socket.receive_json()
    except (aiohttp.ClientError, TypeError) as error:
        message = (
            f"there is no WebSocket ({error}): a proxy must pass `Upgrade`; "
            "clients poll meanwhile, which is slower"
        )
        raise FactorlineError(message) from error
    if socket.protocol != SUBPROTOCOL:
        message = f"the subprotocol is {socket.protocol} and not {SUBPROTOCOL}: a proxy drops it"
        raise FactorlineError(message)
    return f"{SUBPROTOCOL}, {hello['limits']['subscriptions']} subscriptions a socket"


async def _tasks(transport: Transport, key: str | None) -> str:
    response = await transport.request("GET", "/tasks", params={"limit": "1"})
    response.read(dict[str, Any])
    return "the API key is good" if key else "no API key is set, and none is needed"


async def _rabbitmq(address: str) -> str:
    import aiormq  # noqa: PLC0415 for those who run a broker

    connection = await aiormq.connect(address)
    try:
        version = connection.server_properties.get("version", "")
    finally:
        await connection.close()
    return f"{_without_password(address)} lets us in, version {_text(version)}"


async def _mongodb(address: str) -> str:
    import pymongo  # noqa: PLC0415 for those who run a MongoDB

    milliseconds = int(TRY_SECONDS * 1000)
    async with pymongo.AsyncMongoClient[dict[str, Any]](
        address, serverSelectionTimeoutMS=milliseconds, connectTimeoutMS=milliseconds
    ) as mongo:
        info = await mongo.server_info()
        await mongo.get_default_database("factorline").list_collection_names()
    return f"{_without_password(address)} lets us in, version {info['version']}"


def _ecm() -> Finding:
    """Look where a worker on this machine would find GMP-ECM."""
    for path in _places_of_ecm():
        if os.access(path, os.X_OK):
            return Finding("ecm", well=True, says=f"a worker here would use {path}")
    how = "make run installs it, or: apt-get install gmp-ecm"
    return Finding("ecm", well=False, says=f"there is no GMP-ECM for a worker here: {how}")


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
