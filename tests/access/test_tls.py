"""TLS to RabbitMQ and MongoDB: it works with the right certificate authority and not with another."""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, MutableMapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import structlog

from common import errors
from common.broker import Delivery, Queue
from common.broker.rabbit import RabbitBroker
from common.domain import BigInt, Survey, Unit
from common.runtime.settings import Settings
from common.store.mongo import MongoStore
from infra.local.processes import find_program, free_ports
from infra.local.rabbitmq import RabbitNode
from tests import waiting

SECANTUS = Path(sys.executable).with_name("secantusd-py")


class Certificates(NamedTuple):
    """Files: our authority, a server's certificate and key by it, another authority."""

    authority: Path
    certificate: Path
    key: Path
    stranger: Path


def openssl(*arguments: str | Path) -> None:
    """Run openssl."""
    program = find_program("openssl", how="apt-get install openssl")
    subprocess.run([program, *arguments], check=True, capture_output=True, timeout=30)  # noqa: S603 ours


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """Make certificates that are good for 127.0.0.1 and a day."""
    made = Certificates(*(tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem", "no.pem")))
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1")
    for file in (made.authority, made.stranger):
        name = ("-subj", f"/CN={file.stem}", "-keyout", tmp_path / f"{file.stem}.key")
        usage = ("-addext", "keyUsage=critical,keyCertSign")
        openssl("req", "-x509", *curve, *name, *usage, "-out", file)
    openssl(
        "req",
        "-x509",
        *curve,
        "-subj",
        "/CN=server",
        "-keyout",
        made.key,
        "-out",
        made.certificate,
        "-CA",
        made.authority,
        "-CAkey",
        tmp_path / "ca.key",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    )
    return made


@pytest.fixture
async def tls_port(private_rabbitmq: RabbitNode, certificates: Certificates) -> AsyncIterator[int]:
    """Yield a port of the node that speaks TLS and nothing else."""
    [port] = free_ports(1)
    files = (
        f'[{{cacertfile, "{certificates.authority}"}}, {{certfile, "{certificates.certificate}"}}, '
        f'{{keyfile, "{certificates.key}"}}]'
    )
    address = f'{{"127.0.0.1", {port}, inet}}'
    started = await private_rabbitmq.ctl(
        "eval", f"rabbit_networking:start_ssl_listener({address}, {files}, 2)."
    )
    assert "ok" in started
    yield port
    await private_rabbitmq.ctl("eval", f"rabbit_networking:stop_tcp_listener({address}).")


def amqps(node: RabbitNode, port: int, authority: Path) -> str:
    """Return the node's TLS address."""
    plain = node.amqp_url.replace("amqp://", "amqps://").replace(f":{node.amqp_port}/", f":{port}/")
    return f"{plain}?cafile={authority}"


async def test_rabbitmq_over_tls(
    private_rabbitmq: RabbitNode, tls_port: int, certificates: Certificates
) -> None:
    """A unit is published and delivered over the encrypted connection."""
    broker = RabbitBroker(amqps(private_rabbitmq, tls_port, certificates.authority), name="tls")
    got: asyncio.Queue[bytes] = asyncio.Queue()

    async def take(delivery: Delivery) -> None:
        got.put_nowait(delivery.body)
        await delivery.ack()

    await broker.open()
    try:
        await waiting.until(lambda: broker.connected, "the connection", seconds=15)
        await broker.consume(Queue.SURVEY, take, prefetch=1)
        unit = Unit(unit_id="u-1", number=BigInt(91), work=Survey(BigInt(91)))
        await broker.publish([unit])
        async with asyncio.timeout(15):
            assert unit == Unit.decode(await got.get())
        listed = json.loads(
            await private_rabbitmq.ctl("list_connections", "ssl", "port", "--formatter", "json")
        )
        assert {True} == {each["ssl"] for each in listed if each["port"] == tls_port}
    finally:
        await broker.close()


async def test_a_broker_with_a_wrong_certificate_is_refused(
    private_rabbitmq: RabbitNode,
    tls_port: int,
    certificates: Certificates,
) -> None:
    """A certificate of another authority, and one that does not name the host, are refused."""
    right = amqps(private_rabbitmq, tls_port, certificates.authority)
    strange = (
        amqps(private_rabbitmq, tls_port, certificates.stranger),
        right.replace("127.0.0.1", "localhost"),
        right.partition("?")[0],
    )
    brokers = [RabbitBroker(url, name=f"tls-{place}") for place, url in enumerate(strange)]

    def refused(logged: list[MutableMapping[str, Any]]) -> set[str]:
        said = [entry for entry in logged if "CERTIFICATE_VERIFY_FAILED" in entry.get("why", "")]
        return {entry["connection"].partition(":")[0] for entry in said}

    with structlog.testing.capture_logs() as logged:
        await asyncio.gather(*(broker.open() for broker in brokers))  # each tries for seconds
        try:
            await waiting.until(
                lambda: len(refused(logged)) == len(strange), "refusals", seconds=15
            )
            assert not any(broker.connected for broker in brokers)
        finally:
            await asyncio.gather(*(broker.close() for broker in brokers))


@contextlib.asynccontextmanager
async def mongo_over_tls(folder: Path, certificates: Certificates) -> AsyncIterator[str]:
    """Run a MongoDB-wire server that speaks TLS; yield its address."""
    if not SECANTUS.exists():
        pytest.skip("mongodb: secantusdb has no wheel for this machine")
    [port] = free_ports(1)
    files = ("--tls-cert-file", certificates.certificate, "--tls-key-file", certificates.key)
    server = await asyncio.create_subprocess_exec(
        SECANTUS,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--storage-path",
        folder,
        *files,
        "--log-level",
        "ERROR",
    )
    try:
        await waiting.until(lambda: listens(port), "the server", seconds=30)
        yield f"mongodb://127.0.0.1:{port}/factorline?directConnection=true&tls=true"
    finally:
        server.kill()
        await server.wait()


async def listens(port: int) -> bool:
    """Return whether somebody listens on a port of loopback."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def test_mongodb_over_tls(tmp_path: Path, certificates: Certificates) -> None:
    """With the right authority the store answers; with another one or none it is unavailable."""
    async with mongo_over_tls(tmp_path / "mongo", certificates) as uri:
        store = MongoStore(f"{uri}&tlsCAFile={certificates.authority}")
        await store.open()
        await store.ping()
        await store.close()
        strange = (
            f"{uri}&tlsCAFile={certificates.stranger}",
            f"{uri}&tlsCAFile={certificates.authority}".replace("127.0.0.1", "localhost"),
            uri,
        )
        await asyncio.gather(*map(check_refusal, strange))  # each tries for seconds


async def check_refusal(uri: str) -> None:
    """Assert that a server's certificate is not accepted."""
    store = MongoStore(uri)
    with pytest.raises(errors.StoreUnavailable) as refused:
        await store.ping()
    assert "certificate" in refused.value.why.lower()
    await store.close()


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("FACTORLINE_AMQP_URL", "amqps://u:secret@h/?no_verify_ssl=1"),
        ("FACTORLINE_MONGODB_URI", "mongodb://u:secret@h/?tls=true&tlsInsecure=true"),
        ("FACTORLINE_MONGODB_URI", "mongodb://u:secret@h/?tls=true&TLSAllowInvalidCertificates=1"),
        ("FACTORLINE_MONGODB_URI", "mongodb://u:secret@h/?tls=true&tlsAllowInvalidHostnames=true"),
    ],
)
def test_verification_cannot_be_switched_off(name: str, url: str) -> None:
    """The message names the variable and says what to do; it does not contain the password."""
    with pytest.raises(errors.SettingError, match=rf"{name}.*(cafile|tlsCAFile)") as caught:
        Settings.from_environ({name: url})
    assert "secret" not in str(caught.value)
