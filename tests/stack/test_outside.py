"""What an operator of the production shape sees of a task."""

import json
from typing import Any

import aiohttp

from infra.local.programs import Program
from infra.local.stack import Stack
from tests.stack.client import Client, semiprimes


def lines_of(program: Program) -> list[dict[str, Any]]:
    """Return what a program has logged, without Python's own words when it was killed before."""
    lines = program.log.read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


async def test_a_task_can_be_followed_from_gateway_to_worker(stack: Stack, client: Client) -> None:
    """From its id to its number, and from the number to the unit and the worker that ended it."""
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

    assert ["A task is accepted"] == [line["event"] for line in accepted]
    assert {"digits": 40, "route": "/factor"} == {
        name: accepted[0][name] for name in ("digits", "route")
    }
    [end] = ended
    assert ("A number has ended", "succeeded", "survey") == (
        end["event"],
        end["status"],
        end["kind"],
    )
    assert end["unit_id"]
    assert end["process"] in {worker.name for worker in stack.workers}


async def test_workers_show_their_metrics(stack: Stack) -> None:
    """Each on an address of its own, with its health beside it."""
    for worker in stack.workers:
        async with aiohttp.ClientSession(f"http://{worker.address}") as session:
            async with session.get("/metrics") as response:
                assert "factorline_slots_busy 0.0" in await response.text()
            async with session.get("/healthz") as response:
                assert {"status": "alive", "broker_connected": True} == await response.json()
