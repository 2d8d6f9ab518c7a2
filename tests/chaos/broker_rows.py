"""Rows about RabbitMQ and the link to it."""

import asyncio
import random

import aio_pika

from common.broker import Queue
from common.broker.rabbit import topology
from common.domain import BigInt, Event, digest_of
from infra.local.rabbitmq import RabbitNode
from tests import waiting
from tests.chaos.laboratory import Laboratory
from tests.chaos.row import row
from tests.proxy import Way


@row("broker restarted")
async def restarted(lab: Laboratory) -> None:
    """It says goodbye, and is back in seconds."""
    await lab.stack.rabbitmq.stop()
    await lab.stack.rabbitmq.start()


@row("broker kill -9 under publish", short=True, traffic=20)
async def killed(lab: Laboratory) -> None:
    """What was confirmed is there, what was not is published again."""
    lab.stack.rabbitmq.kill()
    await lab.stack.rabbitmq.start()


@row("broker down 60 s", traffic=2)
async def down(lab: Laboratory) -> None:
    """Tasks are accepted all the while."""
    lab.stack.rabbitmq.kill()
    await asyncio.sleep(60)
    posted = await lab.post(patience=5)
    assert posted.task_id, "nobody is accepted without a broker"
    await lab.stack.rabbitmq.start()


@row("disk alarm of the broker")
async def disk_alarm(lab: Laboratory) -> None:
    """Publishers are blocked, and may be heard later."""
    ctl = lab.stack.rabbitmq.ctl
    await ctl("set_disk_free_limit", str(10**15))
    try:
        await waiting.until(lambda: _alarmed(lab), "the alarm", seconds=20)
        posted = await lab.post(patience=10)
        assert posted.task_id, "nobody is accepted while the broker blocks"
    finally:
        await ctl("set_disk_free_limit", "50MB")
    await waiting.until(lambda: _calm(lab), "the end of the alarm", seconds=30)


async def _alarmed(lab: Laboratory) -> bool:
    return "disk" in await lab.stack.rabbitmq.ctl("eval", "rabbit_alarm:get_alarms().")


async def _calm(lab: Laboratory) -> bool:
    return not await _alarmed(lab)


async def _stalled(lab: Laboratory, seconds: float, *ways: Way) -> None:
    lab.amqp.stall(*ways)
    await asyncio.sleep(seconds)
    assert lab.amqp.held_bytes, "nothing was held back"
    lab.amqp.heal()


@row(
    "half-open link to the broker, 120 s",
    traffic=1,  # all of it is to be done afterwards, by a store that takes 25 tasks a second
)
async def half_open(lab: Laboratory) -> None:
    """Nothing comes or goes, and nobody says so."""
    await _stalled(lab, 120)


@row("one-way stall to the broker, 30 s", traffic=2)
async def stalled_there(lab: Laboratory) -> None:
    """Nothing that programs say arrives, heartbeats included."""
    await _stalled(lab, 30, Way.THERE)


@row("one-way stall from the broker, 30 s", traffic=2)
async def stalled_back(lab: Laboratory) -> None:
    """Nothing that the broker says arrives."""
    await _stalled(lab, 30, Way.BACK)


@row("one-way stall from the broker, 4 s")
async def stalled_briefly(lab: Laboratory) -> None:
    """Shorter than any heartbeat: confirms are late, and deliveries come in a burst."""
    await _stalled(lab, 4, Way.BACK)


@row("links to the broker reset")
async def reset(lab: Laboratory) -> None:
    """All of them, three times."""
    for _ in range(3):
        await _reset_once(lab)


async def _reset_once(lab: Laboratory) -> None:
    before = lab.amqp.connections
    lab.amqp.cut()
    await waiting.until(lambda: lab.amqp.connections > before, "a new connection")


@row("links to the broker cut in the middle of a frame")
async def cut(lab: Laboratory) -> None:
    """The broker gets half a publish."""
    before = lab.amqp.held_bytes
    lab.amqp.cut_after(Way.THERE, 700)
    await waiting.until(lambda: lab.amqp.held_bytes > before, "the cut")


@row("slow link to the broker, 300 ms each way for 10 s", traffic=2)
async def slow(lab: Laboratory) -> None:
    """Nothing is lost, only late."""
    lab.amqp.delay_seconds = 0.3
    await asyncio.sleep(10)
    lab.amqp.heal()


@row("queue deleted")
async def queue_deleted(lab: Laboratory) -> None:
    """With whatever was in it; an operator loads the definitions again, as no program may declare."""
    rabbitmq = lab.stack.rabbitmq
    await rabbitmq.ctl("delete_queue", Queue.SURVEY.value)
    await rabbitmq.ctl("import_definitions", str(rabbitmq.definitions))


@row("consumer cancelled by the broker")
async def consumer_cancelled(lab: Laboratory) -> None:
    """The gateways' event queues are deleted under them, which cancels their consumers."""
    deleted = await lab.stack.rabbitmq.ctl(
        "eval",
        "length([rabbit_amqqueue:delete(Q, false, false, <<"
        '"laboratory">>) || Q <- rabbit_amqqueue:list(), '
        '{resource, _, queue, <<"amq.gen", _/binary>>} <- [amqqueue:get_name(Q)]]).',
    )
    assert int(deleted) >= len(lab.stack.gateways)


@row("channel error")
async def channel_error(lab: Laboratory) -> None:
    """Every channel of every program dies inside the broker."""
    ended = await lab.stack.rabbitmq.ctl(
        "eval", "length([exit(Channel, laboratory) || Channel <- rabbit_channel:list()])."
    )
    assert int(ended) >= 4


@row("duplicate, reordered and lost events")
async def events(lab: Laboratory) -> None:
    """Old and doubled hints by the hundred; then the bindings are taken away for a while."""
    posted = await lab.post_many(5)
    connection = await aio_pika.connect(lab.stack.rabbitmq.amqp_url)
    async with connection, connection.channel() as channel:
        exchange = await channel.get_exchange(topology.EVENTS)
        hints = [
            Event(number=BigInt(attempt.number), version=version, urgent=urgent)
            for attempt in posted
            for version in range(1, 11)
            for urgent in (False, True)
        ] * 2
        random.Random(3).shuffle(hints)
        for hint in hints:
            message = aio_pika.Message(hint.encode())
            await exchange.publish(message, digest_of(hint.number), mandatory=False)
        await _all_bindings(lab, "remove")
        try:
            deaf = await lab.post_many(5)
            await asyncio.gather(*(_ended(lab, attempt.task_id) for attempt in deaf))
        finally:
            await _all_bindings(lab, "add")


async def _all_bindings(lab: Laboratory, verb: str) -> None:
    """Take the queues of all gateways off the events exchange, or put them on it again."""
    done = await lab.stack.rabbitmq.ctl(
        "eval",
        "length([ok || Q <- rabbit_amqqueue:list(), "
        '{resource, _, queue, <<"amq.gen", _/binary>>} <- [amqqueue:get_name(Q)], '
        f"ok <- [rabbit_binding:{verb}({{binding, "
        f'rabbit_misc:r(<<"/">>, exchange, <<"{topology.EVENTS}">>), <<"#">>, '
        'amqqueue:get_name(Q), []}, <<"laboratory">>)]]).',
    )
    assert int(done) >= len(lab.stack.gateways), done


async def _ended(lab: Laboratory, task_id: str | None) -> None:
    while not (await lab.get(task_id))["done"]:
        await asyncio.sleep(0.1)


async def _cluster_of_three(lab: Laboratory) -> list[RabbitNode]:
    """Give the broker two companions that hold every queue, too; return them."""
    first = lab.stack.rabbitmq
    nodes: list[RabbitNode] = []
    for index in (2, 3):
        node = RabbitNode(first.folder.with_name(f"rabbitmq-{index}"), name=f"rabbitmq-{index}")
        node.env |= {
            "RABBITMQ_NODENAME": f"factorline{index}@localhost",
            "ERL_EPMD_PORT": first.env["ERL_EPMD_PORT"],
            # A node that joins loads its definitions once more (4.3), the passwords in them included.
            "FACTORLINE_SECRETS": first.env["FACTORLINE_SECRETS"],
        }
        cookie = node.folder / ".erlang.cookie"
        cookie.chmod(0o600)
        cookie.write_text((first.folder / ".erlang.cookie").read_text())
        cookie.chmod(0o400)
        lab.keep_until_the_end(node)
        await node.start()
        await node.ctl("stop_app")
        await node.ctl("join_cluster", first.env["RABBITMQ_NODENAME"])
        await node.ctl("start_app")
        for queue in Queue:
            grown = await first.ctl(
                "eval",
                f'rabbit_quorum_queue:add_member(<<"/">>, <<"{queue.value}">>, '
                f"'{node.env['RABBITMQ_NODENAME']}', 30000).",
            )
            assert grown.strip() == "ok", grown
        nodes.append(node)
    return nodes


@row("killed leader of a three-node cluster", traffic=20, soak=False)
async def leader_killed(lab: Laboratory) -> None:
    """The two others elect a new one; programs connect to one of those, as through a balancer."""
    second, _ = await _cluster_of_three(lab)
    leaders = await lab.stack.rabbitmq.ctl("list_queues", "name", "leader")
    assert f"{Queue.SURVEY.value}\tfactorline@localhost" in leaders, leaders
    lab.stack.rabbitmq.kill()
    lab.amqp.retarget(second.amqp_port)
