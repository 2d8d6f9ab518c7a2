"""The servers of the local stack are the real ones: what they confirm survives kill -9."""

import os
import subprocess
from pathlib import Path

import pytest
from aiormq.abc import FieldValue
from motor.motor_asyncio import AsyncIOMotorClient

from infra.local.haproxy import CONFIGURATION, HAProxy
from infra.local.mongo import MongoServer
from infra.local.processes import NotInstalled
from infra.local.rabbitmq import RabbitNode

QUORUM: dict[str, FieldValue] = {"x-queue-type": "quorum"}


async def test_rabbitmqctl_speaks_to_our_node(private_rabbitmq: RabbitNode) -> None:
    """The helper finds the private node, not a node of the system."""
    assert private_rabbitmq.vhost in await private_rabbitmq.ctl("list_vhosts")


async def test_the_mongo_server_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    """A document written through motor is there after kill -9."""
    try:
        server = MongoServer(tmp_path)
    except NotInstalled as error:
        pytest.skip(f"mongodb: {error}")
    async with server:
        client: AsyncIOMotorClient[dict[str, object]] = AsyncIOMotorClient(server.uri)
        try:
            numbers = client.get_default_database()["numbers"]
            await numbers.insert_one({"_id": "1234", "factors": ["2", "617"]})
            server.kill()
            await server.start()

            assert {"_id": "1234", "factors": ["2", "617"]} == await numbers.find_one("1234")
        finally:
            client.close()


@pytest.mark.parametrize(
    "gateways",
    [{"FACTORLINE_GATEWAY_1": "127.0.0.1:1"}, {"FACTORLINE_GATEWAYS": "localhost:1"}],
    ids=["local", "compose"],
)
def test_haproxy_accepts_its_configuration(gateways: dict[str, str], tmp_path: Path) -> None:
    """One file serves the local stack and Compose."""
    try:
        proxy = HAProxy(tmp_path, [])
    except NotInstalled as error:
        pytest.skip(f"haproxy: {error}")
    env = {**os.environ, **proxy.env, **gateways}
    checked = subprocess.run(  # noqa: S603 our own program and file
        [proxy.command[0], "-c", "-f", str(CONFIGURATION)],
        env=env,
        capture_output=True,
        check=False,
    )

    assert b"" == checked.stderr.replace(b"Configuration file is valid\n", b"")
    assert 0 == checked.returncode
