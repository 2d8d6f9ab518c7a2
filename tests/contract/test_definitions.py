"""infra/rabbitmq defines what the programs expect, and grants them no more than they need."""

import json
import os
import re
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import ChannelAccessRefused

from common.broker import Queue
from common.broker.rabbit import RabbitBroker, topology
from common.domain import BigInt, Control, Event
from common.runtime import passwords
from infra.local.rabbitmq import FILES, USERS, RabbitNode
from tests import waiting
from tests.contract.test_broker import Reader, curves

PROGRAMS = ("gateway", "worker")


def defined() -> dict[str, Any]:
    """Return what infra/rabbitmq/definitions.json says."""
    said: dict[str, Any] = json.loads((FILES / "definitions.json").read_text())
    return said


def url_of(node: RabbitNode, user: str) -> str:
    """Return where a user connects, password included."""
    return passwords.inserted(node.url_of(user), str(node.secret(user)), name="a test")


@pytest.fixture(params=PROGRAMS)
async def connection(
    request: pytest.FixtureRequest, private_rabbitmq: RabbitNode
) -> AsyncIterator[AbstractConnection]:
    """Yield a connection of a program's user to the virtual host with the definitions."""
    async with await aio_pika.connect(url_of(private_rabbitmq, request.param)) as connection:
        yield connection


def test_the_definitions_are_the_topology() -> None:
    """Queues and exchanges are exactly those of `common.broker.rabbit.topology`."""
    queues = {queue["name"]: queue for queue in defined()["queues"]}
    exchanges = {exchange["name"]: exchange["type"] for exchange in defined()["exchanges"]}

    assert {queue.name: queue.arguments for queue in topology.QUEUES} == {
        name: queue["arguments"] for name, queue in queues.items()
    }
    assert topology.EXCHANGES == exchanges
    assert all(it["durable"] for it in (*queues.values(), *defined()["exchanges"]))


def test_the_definitions_hold_no_password() -> None:
    """A user without a hash cannot log in; no program is an administrator."""
    assert [(user, "") for user in USERS] == [
        (user["name"], user["password_hash"]) for user in defined()["users"]
    ]
    assert ["operator"] == [user["name"] for user in defined()["users"] if user["tags"]]


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_has_some_permission_on_all_that_it_looks_for(program: str) -> None:
    """Since RabbitMQ 4.3 it takes one to ask whether something exists; 3.10 lets everybody ask."""
    [permission] = [entry for entry in defined()["permissions"] if entry["user"] == program]
    patterns = [permission[kind] for kind in ("configure", "write", "read")]

    for name in (*(queue.name for queue in topology.QUEUES), *topology.EXCHANGES):
        assert any(re.search(pattern, name) for pattern in patterns), name


async def test_programs_with_least_privilege_do_their_work(private_rabbitmq: RabbitNode) -> None:
    """A unit goes from a gateway to a worker, and an event and a control message arrive as well."""
    gateway = RabbitBroker(url_of(private_rabbitmq, "gateway"), name="gateway")
    worker = RabbitBroker(url_of(private_rabbitmq, "worker"), name="worker")
    events: list[Event] = []
    controls: list[Control] = []

    async def hear_event(event: Event) -> None:
        events.append(event)

    async def hear_control(control: Control) -> None:
        controls.append(control)

    async def gap() -> None:
        raise AssertionError("no connection was lost")

    await gateway.open()
    await worker.open()
    await gateway.subscribe_events(hear_event, gap)
    await worker.subscribe_control(hear_control, gap)
    readers = {queue: Reader() for queue in Queue}
    for queue, reader in readers.items():
        await worker.consume(queue, reader, prefetch=1)
    await gateway.publish([curves(1)])
    await worker.publish([curves(2)])
    await worker.tell(Event(number=BigInt(7), version=1))
    await gateway.control(Control(number=BigInt(7)))
    await waiting.until(lambda: len(readers[Queue.WORK].seen) == 2, "both units")
    await waiting.until(lambda: bool(events and controls), "both hints")
    assert 0 == await gateway.depth(Queue.SURVEY)

    await gateway.close()
    await worker.close()


async def test_a_program_cannot_configure(connection: AbstractConnection) -> None:
    """It can neither declare nor delete a queue or an exchange."""
    attempts: tuple[Callable[[AbstractChannel], Awaitable[object]], ...] = (
        lambda it: it.declare_queue("mine", durable=True),
        lambda it: it.declare_exchange("mine"),
        lambda it: it.queue_delete(Queue.WORK.value),
        lambda it: it.exchange_delete(topology.EVENTS),
    )
    for attempt in attempts:
        channel = await connection.channel()
        with pytest.raises(ChannelAccessRefused):
            await attempt(channel)


async def test_a_gateway_cannot_take_work(private_rabbitmq: RabbitNode) -> None:
    """Only workers read units."""
    async with await aio_pika.connect(url_of(private_rabbitmq, "gateway")) as connection:
        for queue in Queue:
            channel = await connection.channel()
            units = await channel.get_queue(queue.value)
            with pytest.raises(ChannelAccessRefused):
                await units.get(fail=False)


async def test_nobody_is_let_in_with_a_default_password(private_rabbitmq: RabbitNode) -> None:
    """There is no `guest`, and every password was made for this node."""
    users = await private_rabbitmq.ctl("list_users")

    assert {*USERS} == {line.split("\t")[0] for line in users.splitlines()[1:]}
    made = {private_rabbitmq.secret(user).read_text() for user in USERS}
    assert len(made) == len(USERS)
    assert all(len(password) == 48 for password in made)


@pytest.mark.parametrize("password", ["guest", "too-short", "a&long/one|with`$(signs)", None])
def test_a_node_does_not_start_with_a_bad_password(password: str | None, tmp_path: Path) -> None:
    """The script that starts the server exits and says what to do."""
    for user in USERS:
        (tmp_path / f"rabbitmq_{user}").write_text("0123456789abcdef01234567")
    bad = tmp_path / "rabbitmq_worker"
    if password is None:
        bad.unlink()
    else:
        bad.write_text(password)
    ran = subprocess.run(  # noqa: S603 our own script
        ["sh", FILES / "start.sh", "echo", "the server runs"],  # noqa: S607 the system's shell
        env={
            **os.environ,
            "FACTORLINE_SECRETS": str(tmp_path),
            "FACTORLINE_DEFINITIONS": str(tmp_path / "out.json"),
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert (1, "") == (ran.returncode, ran.stdout)
    assert "rabbitmq_worker" in ran.stderr
    assert "make secrets" in ran.stderr


async def test_an_operator_can_bring_back_a_deleted_queue(private_rabbitmq: RabbitNode) -> None:
    """The programs may not do it themselves; docs/how-to/operate.md says how an operator does it."""
    async with await aio_pika.connect(url_of(private_rabbitmq, "operator")) as connection:
        channel = await connection.channel()
        await channel.queue_delete(Queue.DEAD.value)
        await private_rabbitmq.ctl("import_definitions", str(private_rabbitmq.definitions))
        queue = await channel.declare_queue(Queue.DEAD.value, passive=True)
    assert 0 == queue.declaration_result.message_count
