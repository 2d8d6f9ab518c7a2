"""The page without its service: it says so, comes back by itself, and misses nothing."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, WebSocketRoute, expect

from infra.local.programs import Embedded
from tests.browser import numbers
from tests.browser.conftest import Visitor, embedded

pytestmark = pytest.mark.asyncio(loop_scope="session")

OFFLINE = "#offline"


@pytest_asyncio.fixture(loop_scope="session")
async def mortal(tmp_path: Path) -> AsyncIterator[Embedded]:
    """Yield a running service that the test may kill."""
    async with embedded(tmp_path) as running:
        yield running


async def test_a_page_with_a_line_says_nothing(page: Page, service: str) -> None:
    """No notice while all is well."""
    async with page.expect_websocket() as opened:
        await page.goto(service)
    await (await opened.value).wait_for_event("framereceived")

    await expect(page.locator(OFFLINE)).to_be_hidden()


async def test_a_page_says_that_it_is_offline_and_resumes(
    visitor: Visitor, mortal: Embedded
) -> None:
    """Killed and started again: the notice comes and goes, and what is watched runs on."""
    page = visitor.page
    await visitor.ask(mortal.url, numbers.ENDLESS)
    await expect(page.locator(".panel")).to_be_visible()
    mortal.kill_group()
    await expect(page.locator(OFFLINE)).to_contain_text("Offline")
    # While nobody is there: once somebody is, the page may be back before the button can be pressed.
    await page.get_by_role("button", name="Try now").click()
    await expect(page.locator(OFFLINE)).to_contain_text("Offline")
    await mortal.start()
    await expect(page.locator(OFFLINE)).to_be_hidden(timeout=60_000)
    await page.get_by_role("button", name="Cancel").click()

    await expect(page.locator(".task-state .state")).to_have_text("Cancelled")


async def test_an_end_that_came_meanwhile_is_shown(visitor: Visitor, mortal: Embedded) -> None:
    """Work goes on after a restart, and the page that waited shows the answer by itself."""
    page = visitor.page
    await visitor.ask(mortal.url, numbers.SECONDS)
    mortal.kill_group()
    await expect(page.locator(OFFLINE)).to_contain_text("Offline")
    await mortal.start()

    await expect(page.locator(".task-state .state")).to_have_text("Factored", timeout=60_000)
    await expect(page.locator(OFFLINE)).to_be_hidden()


async def test_a_number_submitted_while_the_service_is_away_is_not_lost(
    page: Page, mortal: Embedded
) -> None:
    """The page asks again with the same key: one task comes of it."""
    await page.goto(mortal.url)
    await page.get_by_label("A number or an expression").fill("1234")
    await expect(page.locator("#hint")).to_contain_text("4 digits")
    mortal.kill_group()
    failed = page.wait_for_event("requestfailed", lambda request: request.url.endswith("/factor"))
    await page.get_by_label("A number or an expression").press("Enter")
    await failed
    await expect(page.locator("#hint")).to_contain_text("Trying again")
    await mortal.start()

    await expect(page.locator(".equation")).to_have_text("=2 × 617", timeout=60_000)
    answer = await page.request.get(f"{mortal.url}/tasks")
    assert 1 == len((await answer.json())["tasks"])


async def test_where_no_socket_can_be_had_the_page_asks_over_http(
    visitor: Visitor, service: str
) -> None:
    """A network that lets no WebSocket through still shows the answer."""
    await visitor.page.route_web_socket("**/ws", WebSocketRoute.close)
    await visitor.ask(service, f"{numbers.SECONDS}*31")

    await expect(visitor.page.locator(".task-state .state")).to_have_text(
        "Factored", timeout=60_000
    )


async def test_a_client_that_is_sent_away_stays_away(page: Page, service: str) -> None:
    """After a 40xx close the page says so, and does not come back unasked."""
    sockets = 0

    async def refuse(route: WebSocketRoute) -> None:
        nonlocal sockets
        sockets += 1
        await route.close(code=4001)

    await page.route_web_socket("**/ws", refuse)
    await page.goto(service)
    await expect(page.locator(OFFLINE)).to_contain_text("ended this page's connection")
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await page.evaluate("dispatchEvent(new Event('online'))")

    assert 1 == sockets
