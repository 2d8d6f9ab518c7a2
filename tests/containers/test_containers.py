"""What a person does with `docker-compose.yml`: bring it up, ask it, scale it, kill it, look at it."""

import asyncio
import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest

from infra.local.programs import ROOT
from tests import servers, waiting
from tests.local.test_compose import COMPOSE, FILE, services
from tests.stack.client import Client, Task, semiprimes
from tests.stack.test_operations import Traffic, in_rotation, sieving

pytestmark = pytest.mark.timeout(600)

PROJECT = "factorline-test"
URL = "http://localhost"


def compose(*arguments: str, check: bool = True) -> str:
    """Run Compose and return what it printed."""
    command = [
        str(COMPOSE),
        "-f",
        str(FILE),
        "--project-directory",
        str(ROOT),
        "-p",
        PROJECT,
        *arguments,
    ]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 ours
    assert ran.returncode == 0 or not check, f"{' '.join(arguments)}: {ran.stdout}{ran.stderr}"
    return ran.stdout


def up(*arguments: str) -> None:
    """Bring up what is not up, and return when it is healthy."""
    compose("up", "--detach", "--wait", "--wait-timeout", "240", *arguments)


@pytest.fixture(scope="module", autouse=True)
def running() -> Iterator[None]:
    """Bring up the whole stack, where there is an engine that has the images."""
    images = {name: service["image"] for name, service in services().items() if name != "grafana"}
    for image in {*images.values()} - {"factorline"}:
        if (why := servers.why_no_container(image)) is not None:
            pytest.skip(f"docker: {why}")
    make = shutil.which("make") or "make"
    subprocess.run([make, "-C", str(ROOT), "secrets"], check=True)  # noqa: S603 ours
    try:
        up("--build", "--scale", "worker=4")
        yield
    finally:
        compose("down", "--volumes", "--remove-orphans")


def secret(name: str) -> str:
    """Return what `make secrets` has made."""
    return (ROOT / ".secrets" / name).read_text()


def key() -> dict[str, str]:
    """Return the header with the first API key."""
    return {"Authorization": f"Bearer {secret('first_key')}"}


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """A client in front of the balancer."""
    async with aiohttp.ClientSession(URL, headers=key()) as session:
        yield Client(session)


def pasted(command: str) -> str:
    """Return what a command prints in a shell."""
    run = ["sh", "-c", command]
    ran = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603 ours
    return ran.stdout


def operator() -> str:
    """Return how RabbitMQ's page is told who asks."""
    return aiohttp.encode_basic_auth("operator", secret("rabbitmq_operator"))


def in_each(service: str) -> list[int]:
    """Return which containers of a service there are, by their number."""
    listed = compose("ps", "--format", "json", service).splitlines()
    return sorted(int(json.loads(line)["Name"].rpartition("-")[2]) for line in listed)


def inside(service: str, *command: str, index: int = 1, check: bool = True) -> str:
    """Run a command in a container, as its own user."""
    return compose("exec", "-T", "--index", str(index), service, *command, check=check)


def test_the_two_calls_of_the_seed() -> None:
    """As a person would paste them, on port 80."""
    number = """'{"number": 1234}'"""
    header = """echo "Authorization: Bearer $(cat .secrets/first_key)" | curl -H @-"""
    submit = f"{header} -d {number} -H 'Content-Type: application/json' http://localhost/factor"
    task_id = json.loads(pasted(submit))["task_id"]
    asked = urllib.request.Request(f"http://localhost/tasks/{task_id}?wait=30", headers=key())
    with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310 ours
        assert json.load(answer)["done"]

    assert {"result": "2,617"} == json.loads(pasted(f"{header} http://localhost/get/{task_id}"))
    assert "/problems/unauthenticated" in pasted("curl http://localhost/tasks")


async def test_one_number_over_four_workers_and_a_socket(client: Client) -> None:
    """A subscriber is told the end, in which four containers had a part."""
    [number] = semiprimes(1, digits=74, seed=31)
    task = await client.submit(number)
    async with client.session.ws_connect("/ws") as socket:
        await socket.send_json({"type": "subscribe", "task_ids": [task["task_id"]]})
        told = [await socket.receive_json(timeout=200)]
        while told[-1]["type"] != "done":
            told.append(await socket.receive_json(timeout=200))

    await client.all_right([task])
    assert told[-1]["task"]["result"] == (await client.get(task))["result"]
    assert 4 == max(event["task"]["progress"]["workers"] for event in told if "task" in event)


def test_a_container_is_no_place_to_break_out_of() -> None:
    """No root, no capability, nothing to gain, nowhere to write but in memory."""
    for service in ("gateway", "worker"):
        status = dict(
            line.split(":\t", 1)
            for line in inside(service, "cat", "/proc/self/status").splitlines()
            if ":\t" in line
        )
        assert "10001" == status["Uid"].split()[0]
        assert 0 == int(status["CapEff"], 16) == int(status["CapBnd"], 16)
        assert "1" == status["NoNewPrivs"]
        for folder in ("/", "/app", "/app/common", "/etc", "/var"):
            written = inside(
                service, "sh", "-c", f"touch {folder}/x 2>/dev/null && echo yes", check=False
            )
            assert not written, folder


async def test_no_default_password_opens_anything() -> None:
    """RabbitMQ's `guest` is not there, and the operator's password is the one that was made."""
    guest = aiohttp.encode_basic_auth("guest", "guest")
    for authorization, status in ((guest, 401), (operator(), 200)):
        async with (
            aiohttp.ClientSession(headers={"Authorization": authorization}) as session,
            session.get("http://localhost:15672/api/overview") as response,
        ):
            assert status == response.status, await response.text()
    assert inside("mongo", "mongosh", "--quiet", "--eval", "db.hello().setName").strip() == "rs0"
    with pytest.raises(AssertionError, match="authentication"):
        inside("mongo", "mongosh", "--quiet", "factorline", "--eval", "db.tasks.findOne()")


async def test_every_program_is_connected_under_its_name(client: Client) -> None:
    """Two connections each, as RabbitMQ's page shows them; without any, polling would hide it."""
    auth = {"Authorization": operator()}

    async def connected() -> bool:
        async with client.session.get(
            "http://localhost:15672/api/connections", headers=auth
        ) as response:
            names = [
                each.get("client_properties", {}).get("connection_name", "")
                for each in await response.json()
            ]
        return {("gateway", 4), ("worker", 8)} == {
            (program, sum(name.startswith(f"{program}@") for name in names))
            for program in ("gateway", "worker")
        }

    await waiting.until(connected, "a connection of every program", seconds=30)


async def test_gateways_come_and_go_without_a_failed_request() -> None:
    """The balancer finds a third one, and one that leaves is drained."""
    async with Traffic(URL, key()) as traffic:
        await _scale(worker=4, gateway=3)
        await waiting.until(lambda: _in_service(3), "the third gateway", seconds=30)
        await _scale(worker=4, gateway=2)
        await waiting.until(lambda: _in_service(2), "two gateways", seconds=30)

    assert [] == traffic.failed
    assert traffic.answered > 50


async def _in_service(count: int) -> bool:
    return count == len(await in_rotation("http://localhost:8404/", secret("haproxy_operator")))


async def _scale(**counts: int) -> None:
    scales = [f"--scale={service}={count}" for service, count in counts.items()]
    await asyncio.to_thread(up, "--no-recreate", *scales)


async def test_a_program_that_dies_is_started_again(client: Client) -> None:
    """By the engine, and the number that it had a part in gets its answer."""
    task = await _sieving(client, seed=32)
    for index in in_each("worker"):
        killed = (
            "import os, signal; os.kill(int(open('/proc/1/task/1/children').read().split()[0]), 9)"
        )
        inside("worker", "python", "-c", killed, index=index, check=False)

    await client.all_right([task], seconds=200)
    await waiting.until(lambda: 4 == len(in_each("worker")), "four workers", seconds=60)


async def test_a_number_outlives_every_container(client: Client) -> None:
    """All of them are killed and thrown away in the middle of a sieve; what counts is in the volumes."""
    task = await _sieving(client, seed=33)
    before = (await client.get(task))["progress"]["sieve"]["full"]
    compose("kill")
    compose("rm", "--force")
    up("--scale", "worker=4")

    shown = await client.get(task)
    assert shown["done"] or before <= shown["progress"]["sieve"]["full"]
    await client.all_right([task], seconds=200)


async def _sieving(client: Client, *, seed: int) -> Task:
    [number] = semiprimes(1, digits=66, seed=seed)
    task = await client.submit(number)
    await sieving(client, task)
    return task


async def test_prometheus_sees_everything(client: Client) -> None:
    """Each program that docker-compose.yml has, and no alert fires."""
    up("--no-recreate", "prometheus")

    async def seen() -> bool:
        counted = {
            result["metric"]["job"]: int(result["value"][1])
            for result in await _query(client, "count by (job) (up == 1)")
        }
        return counted == {
            "gateway": 2,
            "worker": 4,
            "rabbitmq": 1,
            "rabbitmq-queues": 1,
            "haproxy": 1,
        }

    await waiting.until(seen, "every target", seconds=60)
    assert [] == await _query(client, 'ALERTS{alertstate="firing"}')


async def _query(client: Client, expression: str) -> list[dict[str, Any]]:
    asked = urllib.parse.urlencode({"query": expression})
    async with client.session.get(f"http://localhost:9090/api/v1/query?{asked}") as response:
        assert response.status == 200, await response.text()
        results: list[dict[str, Any]] = (await response.json())["data"]["result"]
        return results


async def test_at_rest_nothing_is_left_in_a_queue(client: Client) -> None:
    """Once everything has its answer."""
    await client.all_right([await client.submit(n) for n in semiprimes(5, digits=40, seed=34)])

    async def empty() -> bool:
        listing = ["rabbitmqctl", "-q", "list_queues", "name", "messages", "--formatter", "json"]
        listed = json.loads(await asyncio.to_thread(inside, "rabbitmq", *listing))
        counts = {queue["name"]: queue["messages"] for queue in listed}
        return {"factor.survey": 0, "factor.work": 0, "factor.dead": 0}.items() <= counts.items()

    await waiting.until(empty, "empty queues", seconds=60)
