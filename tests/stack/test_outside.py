"""What an operator of the production layout sees of a task."""

import functools
import json
from typing import Any

import aiohttp

from infra.local.programs import Gateway, Program, Worker
from infra.local.stack import Stack
from tests import waiting
from tests.stack.client import Client, semiprimes


def lines_of(program: Program) -> list[dict[str, Any]]:
    """Return what a program has logged, without what Python wrote when an earlier process was killed."""
    lines = program.log.read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


async def test_a_task_can_be_followed_from_gateway_to_worker(stack: Stack, client: Client) -> None:
    """Its id leads to its number, and the number to the unit and the worker that ended it."""
    [number] = semiprimes(1, digits=40, seed=21)
    task = await client.submit(number)
    await client.end(task)
    accepted = [
        line
        for gateway in stack.gateways
        for line in lines_of(gateway)
        if line.get("task_id") == task["task_id"]
    ]
    ended = [
        line
        for worker in stack.workers
        for line in lines_of(worker)
        if line.get("number") == accepted[0]["number"]
    ]

    assert ["Task accepted"] == [line["event"] for line in accepted]
    assert {"digits": 40, "route": "/factor"} == {
        name: accepted[0][name] for name in ("digits", "route")
    }
    [end] = ended
    assert ("Number ended", "succeeded", "survey") == (
        end["event"],
        end["status"],
        end["kind"],
    )
    assert end["unit_id"]
    assert end["process"] in {worker.name for worker in stack.workers}


async def shows(session: aiohttp.ClientSession, words: str) -> bool:
    """Return whether the metrics have these words: a unit of an earlier test may still be in a slot."""
    async with session.get("/metrics") as response:
        return words in await response.text()


async def test_programs_show_their_metrics_to_operators(stack: Stack) -> None:
    """Each has its own address for them, which shows its health too."""
    shown: list[tuple[Gateway | Worker, str]] = [
        *((gateway, "factorline_websockets 0.0") for gateway in stack.gateways),
        *((worker, "factorline_slots_busy 0.0") for worker in stack.workers),
    ]
    for program, words in shown:
        async with aiohttp.ClientSession(f"http://{program.metrics_address}") as session:
            await waiting.until(functools.partial(shows, session, words), words, seconds=30)
            async with session.get("/healthz") as response:
                assert {"status": "alive", "broker_connected": True} == await response.json()


async def test_names_in_rabbitmqs_page_explain_themselves(stack: Stack) -> None:
    """They say whose each connection is and what it is for, and who consumes what."""
    node = stack.rabbitmq
    programs = [process.name for process in (*stack.gateways, *stack.workers)]
    connections = {f"{name}: {way}" for name in programs for way in ("publishing", "consuming")}
    consumers = {f"{gateway.name}: events" for gateway in stack.gateways} | {
        f"{worker.name}: {what}"
        for worker in stack.workers
        for what in ("factor.survey", "factor.work", "factor.dead", "control")
    }
    headers = {"Authorization": aiohttp.encode_basic_auth(node.user, node.password)}
    async with aiohttp.ClientSession(node.management_url, headers=headers) as session:

        async def listed(what: str) -> list[dict[str, Any]]:
            async with session.get(f"api/{what}") as response:
                found: list[dict[str, Any]] = await response.json()
                return found

        async def complete() -> bool:
            named = {
                connection.get("client_properties", {}).get("connection_name")
                for connection in await listed("connections")
            }
            tags = {consumer["consumer_tag"] for consumer in await listed("consumers")}
            return connections <= named and consumers <= tags

        await waiting.until(complete, "every connection and consumer on the page", seconds=30)
