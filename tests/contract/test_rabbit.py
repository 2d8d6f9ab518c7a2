"""What only a broker in another process does: go away and come back."""

import contextlib

import aio_pika
import pytest

from common import errors
from common.broker import Queue
from common.broker.rabbit import RabbitBroker, connection, topology
from common.domain import BigInt, Event
from infra.local.rabbitmq import RabbitNode
from tests import waiting
from tests.contract.test_broker import Reader, curves, survey
from tests.metrics import value
from tests.proxy import Proxy, Way


async def published(broker: RabbitBroker, index: int) -> bool:
    """Return whether a unit was confirmed."""
    with contextlib.suppress(errors.BrokerUnavailable):
        await broker.publish([curves(index)])
        return True
    return False


async def test_confirmed_units_survive_kill_9_and_everybody_comes_back(
    private_rabbitmq: RabbitNode,
) -> None:
    """Publishers get an error, consumers resume by themselves, and subscribers are told of the gap."""
    broker = RabbitBroker(private_rabbitmq.amqp_url, name="test")
    await broker.open()
    heard: list[int] = []
    gaps: list[None] = []

    async def hear(event: Event) -> None:
        heard.append(event.version)

    async def note_gap() -> None:
        gaps.append(None)

    await broker.subscribe_events(hear, note_gap)
    await broker.publish([survey(i) for i in range(50)])
    lost = value("factorline_broker_connections_lost_total")
    failed = value("factorline_publishes_failed_total")
    private_rabbitmq.kill()
    await waiting.until(lambda: not broker.connected, "the loss of the connection")
    assert not await published(broker, 0)
    assert failed < value("factorline_publishes_failed_total")
    reader = Reader()
    await broker.consume(Queue.SURVEY, reader, prefetch=5)
    await private_rabbitmq.start()
    await waiting.until(lambda: len(set(reader.seen)) == 50, "all units", seconds=40)
    await waiting.until(lambda: bool(gaps), "the word about the gap", seconds=20)
    # Publishing has a connection of its own, which may come back later than that of the consumers.
    await waiting.until(lambda: broker.connected, "the publishing connection", seconds=20)
    assert lost + 2 <= value("factorline_broker_connections_lost_total")
    await broker.tell(Event(number=BigInt(7), version=9))
    await waiting.until(lambda: heard == [9], "an event", seconds=20)

    await broker.close()


async def test_a_connection_that_is_cut_during_the_handshake_is_made_again(
    private_rabbitmq: RabbitNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both connections come back, wherever in the handshake they were reset."""
    monkeypatch.setattr(connection, "PAUSE_SECONDS", (0.01, 0.01))
    async with Proxy(private_rabbitmq.amqp_port) as proxy:
        port = f":{private_rabbitmq.amqp_port}/"
        broker = RabbitBroker(
            private_rabbitmq.amqp_url.replace(port, f":{proxy.port}/"), name="test"
        )
        await broker.open()
        for count in range(1, 900, 30):
            await _cut_after(proxy, count)
        proxy.heal()
        reader = Reader()
        await broker.consume(Queue.WORK, reader, prefetch=1)
        await waiting.until(lambda: published(broker, 1), "a publish that is confirmed")
        await waiting.until(lambda: reader.seen == ["w-1"], "a unit")

        await broker.close()


async def _cut_after(proxy: Proxy, count: int) -> None:
    """Reset all connections, and reset them again after so many bytes from the broker."""
    before = proxy.held_bytes
    proxy.cut_after(Way.BACK, count)
    proxy.cut()
    await waiting.until(lambda: proxy.held_bytes > before, "the cut")


async def test_a_deleted_queue_is_declared_again(private_rabbitmq: RabbitNode) -> None:
    """Its consumer is cut off and comes back, and a publish meanwhile fails with an error."""
    broker = RabbitBroker(private_rabbitmq.amqp_url, name="test")
    await broker.open()
    reader = Reader()
    await broker.consume(Queue.WORK, reader, prefetch=1)
    await broker.publish([curves(1)])
    await waiting.until(lambda: reader.seen == ["w-1"], "the first unit")
    connection = await aio_pika.connect(private_rabbitmq.amqp_url)
    async with connection, connection.channel() as channel:
        await channel.queue_delete(Queue.WORK.value)
    await waiting.until(lambda: published(broker, 2), "a publish that is confirmed")
    await waiting.until(lambda: "w-2" in reader.seen, "the second unit")

    await broker.close()


async def test_a_program_that_may_not_declare_uses_the_existing_topology(
    private_rabbitmq: RabbitNode,
) -> None:
    """A user without the right to configure checks that the topology exists."""
    await (owner := RabbitBroker(private_rabbitmq.amqp_url, name="owner")).open()
    await owner.close()
    ctl, vhost = private_rabbitmq.ctl, private_rabbitmq.vhost
    await ctl("add_user", "humble", "secret")
    await ctl("set_permissions", "-p", vhost, "humble", r"^amq\.gen.*$", ".*", ".*")
    url = private_rabbitmq.amqp_url.replace(
        f"{private_rabbitmq.user}:{private_rabbitmq.password}", "humble:secret"
    )
    broker = RabbitBroker(url, name="humble")
    await broker.open()
    assert broker.connected
    reader = Reader()
    await broker.consume(Queue.WORK, reader, prefetch=1)
    await broker.publish([curves(1)])
    await waiting.until(lambda: reader.seen == ["w-1"], "a unit")

    await broker.close()
    await ctl("delete_user", "humble")


async def test_a_frozen_broker_blocks_no_caller(private_rabbitmq: RabbitNode) -> None:
    """A publish that is not confirmed in time fails, and the next one fails at once."""
    broker = RabbitBroker(private_rabbitmq.amqp_url, name="test")
    await broker.open()
    await broker.publish([curves(1)])
    await private_rabbitmq.ctl("set_vm_memory_high_watermark", "absolute", "1MB")
    try:
        await waiting.until(lambda: _refused(broker), "a publish that is not confirmed")
        assert not broker.connected
    finally:
        await private_rabbitmq.ctl("set_vm_memory_high_watermark", "absolute", "1GB")
    await waiting.until(lambda: published(broker, 3), "a publish that is confirmed", seconds=30)

    await broker.close()


async def _refused(broker: RabbitBroker) -> bool:
    return not await published(broker, 2)


async def test_the_broker_has_the_topology_of_the_code(private_rabbitmq: RabbitNode) -> None:
    """It has our durable quorum queues with their limits and dead-letter queues."""
    broker = RabbitBroker(private_rabbitmq.amqp_url, name="test")
    await broker.open()
    listed = await private_rabbitmq.ctl(
        "list_queues", "-p", private_rabbitmq.vhost, "name", "type", "durable", "arguments"
    )
    await broker.close()

    for queue in topology.QUEUES:
        [line] = [line for line in listed.splitlines() if line.startswith(f"{queue.name}\t")]
        assert "\tquorum\ttrue\t" in line
        assert all(argument in line for argument in queue.arguments), line
