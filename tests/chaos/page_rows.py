"""Rows about web pages that mean harm, in the browser of somebody who can reach the service."""

import asyncio

from aiohttp import web
from aiohttp.test_utils import TestServer

from infra.tools.browser import chromium
from tests.chaos.laboratory import Laboratory
from tests.chaos.row import row

ROUNDS = 500
STARTED = "4242424242424242424242424242424243"
"""What the page asks for, and nobody else does."""
ATTACK = """async ([urls, victim, number, rounds]) => {
  const quiet = {mode: "no-cors"};
  for (let round = 0; round < rounds; round++) {
    const url = urls[round % urls.length];
    const body = JSON.stringify({number});
    await Promise.allSettled([
      fetch(`${url}/factor`, {...quiet, method: "POST", body}),
      fetch(`${url}/tasks/batch`, {...quiet, method: "POST", body: JSON.stringify({numbers: [number]})}),
      fetch(`${url}/tasks/${victim}`, {method: "DELETE"}),
      fetch(`${url}/tasks/${victim}?wait=60`, quiet),
      fetch(`${url}/numbers/${number}`, quiet),
      // Chromium makes a page that is refused sockets wait longer and longer for the next one.
      round % 50 || new Promise(resolve => {
        const socket = new WebSocket(url.replace("http", "ws") + "/ws", "factorline.v1");
        socket.onopen = socket.onerror = resolve;
      }),
    ]);
    navigator.sendBeacon(`${url}/factor`, body);
  }
}"""


async def _page(_request: web.Request) -> web.Response:
    return web.Response(text="<!DOCTYPE html><title>x</title>", content_type="text/html")


async def _refused(lab: Laboratory, url: str) -> float:
    """Return how many requests of other sites a gateway has refused."""
    async with lab.session.get(f"{url}/metrics") as response:
        lines = (await response.text()).splitlines()
    name = 'factorline_refused_total{why="origin-refused"} '
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))


async def _asked_for(lab: Laboratory) -> set[str]:
    """Return every number that there is a task for."""
    found, query = set[str](), {"limit": "100"}
    while True:
        async with lab.session.get("/tasks", params=query) as response:
            page = await response.json()
        found |= {task["number"] for task in page["tasks"]}
        if page["next_cursor"] is None:
            return found
        query["cursor"] = page["next_cursor"]


@row("page of another origin", attack=True)
async def stranger(lab: Laboratory) -> None:
    """It posts, cancels, holds long polls and opens sockets as fast as Chromium can."""
    victim = await lab.post()
    gateway = lab.stack.gateways[0]
    direct = f"http://{gateway.address}"
    before = await _refused(lab, direct)
    app = web.Application()
    app.router.add_get("/", _page)
    async with lab.under_attack(gateway), TestServer(app) as site, chromium() as browser:
        page = await browser.new_page()
        await page.goto(f"http://localhost:{site.port}/")
        given = [[direct, lab.stack.url], victim.task_id, STARTED, ROUNDS]
        async with asyncio.timeout(240):
            await page.evaluate(ATTACK, given)
    assert await _refused(lab, direct) - before >= ROUNDS, "hardly anything has arrived"
    assert STARTED not in await _asked_for(lab), "the page has started a number"
    async with lab.session.get(f"/tasks/{victim.task_id}") as response:
        task = await response.json()
    assert "cancelled" != task["status"], "the page has cancelled a task"
