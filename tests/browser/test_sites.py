"""Pages of other sites in a real browser: what one can do to a service that its visitor can reach."""

import contextlib
import re
import time
import urllib.parse
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer
from playwright.async_api import Browser, Page, expect
from playwright.async_api import Error as PlaywrightError

from common.domain import new_key
from common.store.sqlite import SqliteStore
from infra.local.processes import free_ports
from infra.local.programs import Embedded
from infra.tools.browser import chromium
from tests import waiting
from tests.browser.conftest import Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")

ATTACK = """async ([service, name]) => {
  const tries = {
    "fetch": () => fetch(service + "/factor", {method: "POST", mode: "no-cors", body: '{"number": 35}'}),
    "batch": () => fetch(service + "/tasks/batch", {method: "POST", mode: "no-cors",
      headers: {"Content-Type": "text/plain"}, body: '{"numbers": [35, 77]}'}),
    "beacon": () => navigator.sendBeacon(service + "/factor", '{"number": 35}'),
    "preflighted": () => fetch(service + "/factor", {method: "POST", body: '{"number": 35}',
      headers: {"Content-Type": "application/json"}}),
    "delete": () => fetch(service + "/tasks/" + name, {method: "DELETE"}),
    "read": () => fetch(service + "/tasks").then(answer => answer.text()),
    "socket": () => new Promise((resolve, reject) => {
      const socket = new WebSocket(service.replace("http", "ws") + "/ws", "factorline.v1");
      socket.onmessage = resolve;
      socket.onerror = reject;
    }),
    "image": () => new Promise((resolve, reject) => {
      const image = new Image();
      image.onload = resolve;
      image.onerror = reject;
      image.src = service + "/web/x/icon.svg";
    }),
  };
  const done = [];
  for (const [what, attempt] of Object.entries(tries)) {
    try { await attempt(); done.push(what); } catch { }
  }
  return done;
}"""
FORM = """service => {
  const frame = document.createElement("iframe");
  frame.sandbox = "allow-forms allow-scripts";  // its Origin is null
  frame.srcdoc = `<form method="post" enctype="text/plain" action="${service}/factor">
    <input name='{"number": 35, "x": "' value='"}'></form><script>document.forms[0].submit()</script>`;
  document.body.append(frame);
}"""
FRAME = """service => {
  const frame = document.createElement("iframe");
  frame.src = service + "/";
  document.body.append(frame);
}"""
CALL = """async ([service, key]) => {
  const answer = await fetch(service + "/factor", {method: "POST", body: '{"number": 1234}', headers: {
    "Authorization": "Bearer " + key, "Content-Type": "application/json", "Idempotency-Key": "once",
    "Prefer": "wait=5"}});
  const task = await answer.json();
  const socket = new WebSocket(service.replace("http", "ws") + "/ws", "factorline.v1");
  const told = await new Promise((resolve, reject) => {
    const types = [];
    socket.onopen = () => socket.send(JSON.stringify({type: "authenticate", key}));
    socket.onmessage = frame => {
      types.push(JSON.parse(frame.data).type);
      if (types.at(-1) === "authenticated")
        socket.send(JSON.stringify({type: "subscribe", task_ids: [task.task_id]}));
      if (types.at(-1) === "done") resolve(types);
    };
    socket.onerror = reject;
  });
  return {status: answer.status, result: task.result, told,
    headers: ["location", "etag", "ratelimit-policy"].map(name => answer.headers.get(name))};
}"""


@contextlib.asynccontextmanager
async def site(body: str = "A page of somebody else.") -> AsyncIterator[BaseTestServer]:
    """Yield a web server with one page, on a port of its own."""

    async def page(_request: web.Request) -> web.Response:
        return web.Response(
            text=f"<!DOCTYPE html><title>x</title><link rel=icon href=data:,>{body}",
            content_type="text/html",
        )

    app = web.Application()
    app.router.add_get("/", page)
    async with TestServer(app) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def elsewhere(browser: Browser) -> AsyncIterator[Page]:
    """Yield a page whose errors are nobody's fault: it is told no all the time."""
    context = await browser.new_context()
    yield await context.new_page()
    await context.close()


async def tasks(service: str) -> list[str]:
    """Return the ids of all tasks of a service."""
    async with aiohttp.ClientSession(service) as session, session.get("/tasks") as answer:
        return [task["task_id"] for task in (await answer.json())["tasks"]]


async def refusals(session: aiohttp.ClientSession) -> float:
    """Return how many requests a service has refused because of where they came from."""
    async with session.get("/metrics") as answer:
        found = re.search(r'refused_total\{why="origin-refused"\} (\S+)', await answer.text())
    return float(found[1]) if found else 0


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
async def test_a_page_of_another_site_cannot_use_the_service(
    service: str, elsewhere: Page, name: str
) -> None:
    """On another port of the same name, or under another name: no call, form, socket, image or frame."""
    async with aiohttp.ClientSession(service) as session:
        async with session.post("/factor", json={"number": f"7^901+{2}"}) as answer:
            victim = (await answer.json())["task_id"]
        before = await tasks(service)
        async with site() as server:
            await elsewhere.goto(f"http://{name}:{server.port}/")
            seen = await elsewhere.evaluate(ATTACK, [service, victim])
            for attack in (FORM, FRAME):
                refused = await refusals(session)
                await elsewhere.evaluate(attack, service)

                async def one_more(refused: float = refused) -> bool:
                    return await refusals(session) > refused

                await waiting.until(one_more, "the refusal")
        # These do not say whether they succeeded, and must not have.
        assert {"fetch", "batch", "beacon"} >= set(seen), seen
        assert before == await tasks(service)
        async with session.get(f"/tasks/{victim}") as answer:
            assert "cancelled" != (await answer.json())["status"]
        async with session.delete(f"/tasks/{victim}") as answer:
            assert answer.ok


async def test_a_link_of_another_site_opens_the_page(service: str, elsewhere: Page) -> None:
    """Which has then no handle to the window that it came from."""
    async with site(f'<a href="{service}/#/" target="_blank" rel="opener">look</a>') as server:
        await elsewhere.goto(f"http://localhost:{server.port}/")
        async with elsewhere.context.expect_page() as opened:
            await elsewhere.get_by_role("link", name="look").click()
        page = await opened.value
        await expect(page.get_by_label("A number or an expression")).to_be_visible()
        assert await page.evaluate("window.opener === null")


async def test_a_name_that_an_attacker_points_at_this_machine_is_not_answered(
    service: str,
) -> None:
    """DNS rebinding: the browser believes that page and service are of the same site."""
    port = service.rpartition(":")[2]
    async with chromium("--host-resolver-rules=MAP rebind.example 127.0.0.1") as browser:
        page = await browser.new_page(bypass_csp=True)  # an attacker's own page would have none
        evil = f"http://rebind.example:{port}"
        answer = await page.goto(f"{evil}/")
        assert answer is not None
        assert 421 == answer.status
        assert "FACTORLINE_HOSTS" in await page.content()
        before = await tasks(service)
        told = await page.evaluate(ATTACK, [evil, "x"])
        status = await page.evaluate("fetch('/tasks').then(answer => answer.status)")

    assert 421 == status
    assert "socket" not in told
    assert before == await tasks(service)


async def test_a_listed_site_may_call_with_a_key(elsewhere: Page, tmp_path: Path) -> None:
    """Its page posts with its own headers, reads those of the answer, and follows over a socket."""
    [port] = free_ports(1)
    async with site() as listed, site() as other:
        settings = {
            "FACTORLINE_SLOTS": "1",
            "FACTORLINE_KEYS": "true",
            "FACTORLINE_ORIGINS": f"http://localhost:{listed.port}",
        }
        async with Embedded(tmp_path, port=port, settings=settings) as service:
            store = SqliteStore(tmp_path / "data" / "factorline.sqlite3")
            await store.open()
            made = new_key("ann", now=time.time())
            await store.insert_key(made.key)
            await store.close()
            await elsewhere.goto(f"http://localhost:{listed.port}/")
            seen = await elsewhere.evaluate(CALL, [service.url, made.secret])
            await elsewhere.goto(f"http://localhost:{other.port}/")
            with pytest.raises(PlaywrightError, match="Failed to fetch"):
                await elsewhere.evaluate(CALL, [service.url, made.secret])

    assert (200, "2,617") == (seen["status"], seen["result"])
    assert seen["headers"][0].startswith("/tasks/")
    assert seen["headers"][1]
    assert "done" == seen["told"][-1]


MARKUP = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


async def test_markup_that_a_stranger_hands_over_is_text(service: str, visitor: Visitor) -> None:
    """In the address of a link, in the field, and in a batch that somebody pastes."""
    page, link = visitor.page, urllib.parse.quote(MARKUP)
    for address in (f"/#/task/{link}", f"/#/{link}", f"/?number={link}#/"):
        await page.goto(f"{service}{address}")
        await expect(page.locator("body")).to_be_visible()
    await page.goto(f"{service}/#/")
    field = page.get_by_label("A number or an expression")
    await field.fill(MARKUP)
    await field.press("Enter")
    await expect(page.locator("body")).to_contain_text("character 1")
    await page.goto(f"{service}/#/batch")
    await page.get_by_label("Numbers or expressions").fill(f"{MARKUP}\n1234")
    await page.get_by_role("button", name="Factor all").click()
    await expect(page.locator("#batch-result tbody")).to_contain_text("onerror")

    assert 0 == await page.locator("img, #batch-result script").count()
    assert "owned" != await page.title()
