"""Which RabbitMQ and MongoDB the tests run against: given ones, else Docker's, else our own."""

import contextlib
import functools
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pymongo
import pytest
from pymongo.errors import PyMongoError

from infra.local.mongo import MongoServer
from infra.local.processes import NotInstalled, free_ports, replies
from infra.local.programs import Embedded
from infra.local.rabbitmq import PROTOCOL_HEADER, RabbitNode
from infra.local.stack import Stack
from tests import waiting

RABBITMQ_IMAGE = "rabbitmq:4.3.7-management"
MONGO_IMAGE = "mongo:8.0.16"


def given(*names: str) -> str | None:
    """Return the first of these environment variables that is set."""
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def given_rabbitmq() -> str | None:
    """Return the address of a broker that the person who runs the tests has named."""
    return given("FACTORLINE_TEST_AMQP_URL", "AMQP_URL")


def given_mongo() -> str | None:
    """Return the address of a MongoDB that the person who runs the tests has named."""
    return given("FACTORLINE_TEST_MONGODB_URI", "MONGODB_URI")


@functools.cache
def why_no_container(image: str) -> str | None:
    """Return why a container cannot be had, or None if it can; nothing is ever pulled."""
    docker = shutil.which("docker")
    if docker is None:
        return "Docker is not installed"
    inspect = [docker, "image", "inspect", image]
    asked = subprocess.run(inspect, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603 no input of others
    if asked.returncode == 0:
        return None
    no_engine = "daemon" in asked.stderr and "No such image" not in asked.stderr
    return "no Docker engine answers" if no_engine else f"the image {image} has not been pulled"


@contextlib.contextmanager
def container(image: str, port: int, command: str | None = None) -> Iterator[str]:
    """Run an image with its port published on loopback; yield host:port."""
    # Ryuk, which would clean up after us if we were killed, is one more image to pull.
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415 slow, for few machines

    with DockerContainer(image, command=command).with_exposed_ports(port) as started:
        yield f"{started.get_container_host_ip()}:{started.get_exposed_port(port)}"


def has_rabbitmq() -> bool:
    """Return whether a broker is given or can be had as a container."""
    return given_rabbitmq() is not None or why_no_container(RABBITMQ_IMAGE) is None


@contextlib.asynccontextmanager
async def rabbitmq() -> AsyncIterator[str]:
    """Yield the address of the broker that `has_rabbitmq` found."""
    if url := given_rabbitmq():
        yield url
        return
    with container(RABBITMQ_IMAGE, 5672) as address:
        port = int(address.rpartition(":")[2])
        await waiting.until(lambda: replies(port, PROTOCOL_HEADER), "the broker", seconds=90)
        yield f"amqp://guest:guest@{address}/"


@contextlib.asynccontextmanager
async def private_rabbitmq(folder: Path) -> AsyncIterator[RabbitNode]:
    """Yield a running node of our own; skip the test if RabbitMQ is not installed."""
    try:
        node = RabbitNode(folder)
    except NotInstalled as error:
        pytest.skip(f"rabbitmq: {error}")
    try:
        await node.start()
        yield node
    finally:
        await node.stop(grace_seconds=0)


@contextlib.asynccontextmanager
async def mongo(folder: Path) -> AsyncIterator[str]:
    """Yield the address of a MongoDB or of a server that speaks its protocol."""
    if uri := given_mongo():
        yield uri
    elif why_no_container(MONGO_IMAGE) is None:
        with container(MONGO_IMAGE, 27017, "--replSet rs0") as address:
            uri = f"mongodb://{address}/factorline?directConnection=true"
            await waiting.until(lambda: _become_replica_set(uri), "the replica set", seconds=60)
            yield uri
    else:
        try:
            server = MongoServer(folder)
        except NotInstalled as error:
            pytest.skip(f"mongodb: {error}")
        async with server:
            yield server.uri


def embedded(folder: Path) -> Embedded:
    """Return a service with one slot, all in one process, that has not been started."""
    [port] = free_ports(1)
    return Embedded(folder, port=port, settings={"FACTORLINE_SLOTS": "1"})


def kill(stack: Stack) -> None:
    """Kill what is left of a stack: nobody needs it any more, and asked to end it takes ten seconds."""
    for process in (*stack.programs, *stack.servers):
        process.kill_group()


async def _become_replica_set(uri: str) -> bool:
    """Make a lone server a replica set of one, without which it has no retryable writes."""
    members = [{"_id": 0, "host": "127.0.0.1:27017"}]
    async with pymongo.AsyncMongoClient[dict[str, object]](uri) as client:
        with contextlib.suppress(PyMongoError):  # not up yet, or done before
            await client.admin.command("replSetInitiate", {"_id": "rs0", "members": members})
        with contextlib.suppress(PyMongoError):
            return bool((await client.admin.command("hello"))["isWritablePrimary"])
    return False


def describe() -> list[str]:
    """Return what the tests will run against, a line each."""
    return [
        f"rabbitmq: {_choice(given_rabbitmq(), RABBITMQ_IMAGE, 'a private node')}",
        f"mongodb: {_choice(given_mongo(), MONGO_IMAGE, 'a SecantusDB process')}",
    ]


def _choice(address: str | None, image: str, otherwise: str) -> str:
    if address:
        return f"as given, {address.rpartition('@')[2]}"
    why = why_no_container(image)
    return f"{otherwise} ({why})" if why else f"a container of {image}"
