"""The page in front of the production layout: RabbitMQ, a MongoDB-wire server, two gateways, a balancer."""

import asyncio
import signal

import pytest
from playwright.async_api import Browser, Page, expect

from infra.local.stack import Stack
from infra.tools.browser import submit
from tests.browser import numbers
from tests.browser.conftest import Visitor

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

TABS = 20
TIMEOUT_MS = 60_000


async def signal_workers(stack: Stack, number: signal.Signals) -> None:
    """Send a signal to every worker: SIGSTOP to freeze them, SIGCONT to let them go on."""
    for worker in stack.workers:
        worker.signal(number)


async def test_a_page_survives_the_loss_of_a_gateway(visitor: Visitor, stack: Stack) -> None:
    """Each gateway is killed in turn: the page reconnects to the other one by itself."""
    page = visitor.page
    await visitor.submit(stack.url, numbers.ENDLESS)
    await expect(page.locator(".panel")).to_be_visible(timeout=TIMEOUT_MS)
    for gateway in stack.gateways:
        gateway.kill()
        await gateway.start()
    await expect(page.locator("#offline")).to_be_hidden(timeout=TIMEOUT_MS)
    await page.get_by_role("button", name="Cancel").click()

    await expect(page.locator(".task-state .state")).to_have_text("Cancelled")


async def test_a_batch_and_bad_input(page: Page, stack: Stack) -> None:
    """The page shows the same as with the embedded service."""
    await page.goto(f"{stack.url}/#/batch")
    await page.get_by_label("Numbers or expressions").fill("1234\n2+*3\n2^128+1")
    await page.get_by_role("button", name="Factor all").click()

    await expect(page.locator("#batch-summary")).to_have_text("All 3 numbers done")
    rows = page.locator("#batch-result tbody tr")
    await expect(rows.nth(1)).to_contain_text("(character 3)")
    await expect(rows.nth(2)).to_contain_text("59649589127497217 × 5704689200685129054721")


async def test_the_status_view_shows_the_worker_and_the_queues(page: Page, stack: Stack) -> None:
    """It shows numbers, no question marks and no error."""
    await page.goto(f"{stack.url}/#/status")

    await expect(page.locator("#status-body")).to_contain_text("factor.survey")
    await expect(page.get_by_role("group", name="Workers").locator("tbody tr")).to_have_count(
        len(stack.workers)
    )
    await expect(page.get_by_role("link", name="RabbitMQ management")).to_have_attribute(
        "href", stack.rabbitmq.management_url
    )
    await expect(page.locator("#status-body .bad")).to_have_count(0)
    await expect(page.locator("#status-body")).not_to_contain_text("?")


async def test_every_tab_sees_its_answer_although_the_gateways_restart(
    browser: Browser, stack: Stack
) -> None:
    """Both gateways are restarted one after the other while twenty tabs watch twenty numbers."""
    context = await browser.new_context()
    context.set_default_timeout(TIMEOUT_MS)
    tabs = [await context.new_page() for _ in range(TABS)]
    await signal_workers(stack, signal.SIGSTOP)
    try:
        await asyncio.gather(*(watch(tab, stack.url, place) for place, tab in enumerate(tabs)))
        for gateway in stack.gateways:
            await gateway.stop()
            await gateway.start()
    finally:
        await signal_workers(stack, signal.SIGCONT)
    for place, tab in enumerate(tabs):
        await expect(tab.locator(".task-state .state")).to_have_text("Factored", timeout=TIMEOUT_MS)
        await expect(tab.locator(".equation")).to_have_text(
            f"=2 × 617 × {10**9 + 7}{power(place)} × {2**61 - 1}"
        )
        await expect(tab.locator("#offline")).to_be_hidden()
    await context.close()


def power(place: int) -> str:
    """Return an exponent as the page writes it: none for one."""
    return "" if place == 0 else str(place + 1)


async def watch(tab: Page, url: str, place: int) -> None:
    """Submit a number of its own in a tab, and wait until the tab shows the task."""
    await submit(tab, url, f"1234*(10^9+7)^{place + 1}*(2^61-1)")
    await expect(tab.locator(".task-state .state")).to_have_text("Queued", timeout=TIMEOUT_MS)
