"""The page while its service is away: it says so, reconnects by itself, and misses nothing."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, WebSocketRoute, expect

from infra.local.programs import Embedded
from tests.browser import numbers
from tests.browser.conftest import Visitor
from tests.servers import embedded

pytestmark = pytest.mark.asyncio(loop_scope="session")

OFFLINE = "#offline"


@pytest_asyncio.fixture(loop_scope="session")
async def mortal(tmp_path: Path) -> AsyncIterator[Embedded]:
    """Yield a running service that the test may kill."""
    async with embedded(tmp_path) as running:
        yield running


async def test_a_connected_page_shows_no_notice(page: Page, service: str) -> None:
    """There is no notice while all is well."""
    async with page.expect_websocket() as opened:
        await page.goto(service)
    await (await opened.value).wait_for_event("framereceived")

    await expect(page.locator(OFFLINE)).to_be_hidden()


async def test_a_page_says_that_it_is_offline_and_reconnects(
    visitor: Visitor, mortal: Embedded
) -> None:
    """The service is killed and started again: the notice comes and goes, and the task runs on."""
    page = visitor.page
    await visitor.submit(mortal.url, numbers.ENDLESS)
    await expect(page.locator(".panel")).to_be_visible()
    mortal.kill_group()
    await expect(page.locator(OFFLINE)).to_contain_text("Offline")
    # Before the service starts: after that, the page may reconnect before the button can be pressed.
    await page.get_by_role("button", name="Try now").click()
    await expect(page.locator(OFFLINE)).to_contain_text("Offline")
    await mortal.start()
    await expect(page.locator(OFFLINE)).to_be_hidden(timeout=60_000)
    await page.get_by_role("button", name="Cancel").click()

    await expect(page.locator(".task-state .state")).to_have_text("Cancelled")


async def test_an_answer_found_while_offline_is_shown(visitor: Visitor, mortal: Embedded) -> None:
    """The work goes on after a restart, and the waiting page shows the answer by itself."""
    page = visitor.page
    await visitor.submit(mortal.url, numbers.SECONDS)
    mortal.kill_group()
    await expect(page.locator(OFFLINE)).to_contain_text("Offline")
    await mortal.start()

    await expect(page.locator(".task-state .state")).to_have_text("Factored", timeout=60_000)
    await expect(page.locator(OFFLINE)).to_be_hidden()


async def test_a_number_submitted_while_the_service_is_away_is_not_lost(
    page: Page, mortal: Embedded
) -> None:
    """The page repeats the request with the same idempotency key, so that one task is made."""
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


async def test_without_a_websocket_the_page_polls_over_http(visitor: Visitor, service: str) -> None:
    """Behind a network that lets no WebSocket through the page still shows the answer."""
    await visitor.page.route_web_socket("**/ws", WebSocketRoute.close)
    await visitor.submit(service, f"{numbers.SECONDS}*31")

    await expect(visitor.page.locator(".task-state .state")).to_have_text(
        "Factored", timeout=60_000
    )


async def test_a_page_that_is_refused_does_not_reconnect(page: Page, service: str) -> None:
    """After a 40xx close the page says so, and does not reconnect unasked."""
    sockets = 0

    async def refuse(route: WebSocketRoute) -> None:
        nonlocal sockets
        sockets += 1
        await route.close(code=4001)

    await page.route_web_socket("**/ws", refuse)
    await page.goto(service)
    await expect(page.locator(OFFLINE)).to_contain_text("closed this page's connection")
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await page.evaluate("dispatchEvent(new Event('online'))")

    assert 1 == sockets
