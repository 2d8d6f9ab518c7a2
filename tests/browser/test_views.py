"""Every view, light and dark: accessible, no console errors, readable on small screens, light to load."""

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, Response, expect

from tests.browser import numbers
from tests.browser.conftest import Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")

AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text()
LIMIT_BYTES = 150 * 1024


async def violations(page: Page) -> list[str]:
    """Return the violations that axe-core finds, one per line."""
    await page.evaluate(AXE)
    found: dict[str, Any] = await page.evaluate("axe.run({resultTypes: ['violations']})")
    return [
        f"{violation['id']}: {node['html'][:200]} {node['failureSummary']}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]


async def home(visitor: Visitor, service: str) -> None:
    """The field, with a task in the list."""
    await visitor.submit(service, "1234")
    await visitor.page.goto(f"{service}/#/")
    await expect(visitor.page.locator("#tasks")).to_contain_text("2 × 617")
    await expect(visitor.page.locator("#hint")).to_contain_text("digits")


async def refused(visitor: Visitor, service: str) -> None:
    """The field with something that is not a number."""
    await visitor.page.goto(service)
    await visitor.page.get_by_label("A number or an expression").fill("2+*3")
    await expect(visitor.page.locator("#hint mark")).to_be_visible()


async def running(visitor: Visitor, service: str) -> None:
    """A number while its elliptic curves run."""
    await visitor.submit(service, f"11*({numbers.ENDLESS})")
    await expect(visitor.page.locator(".panel")).to_be_visible()


async def finished(visitor: Visitor, service: str) -> None:
    """An answer."""
    await visitor.submit(service, "30!+1")
    await expect(visitor.page.locator(".task-state .state")).to_have_text("Factored")


async def huge(visitor: Visitor, service: str) -> None:
    """A number of a thousand digits, with its digits unfolded."""
    await visitor.submit(service, numbers.HUGE)
    await visitor.page.get_by_text("All digits").click()


async def unknown(visitor: Visitor, service: str) -> None:
    """A link that leads nowhere."""
    await visitor.page.goto(f"{service}/#/task/00000000-0000-4000-8000-000000000000")
    await expect(visitor.page.get_by_role("heading", name="Task not found")).to_be_visible()


async def batch(visitor: Visitor, service: str) -> None:
    """A batch with a bad line."""
    await visitor.page.goto(f"{service}/#/batch")
    await visitor.page.get_by_label("Numbers or expressions").fill("1234\nx\n2^64+1")
    await visitor.page.get_by_role("button", name="Factor all").click()
    await expect(visitor.page.locator("#batch-summary")).to_have_text("All 3 numbers done")


async def status(visitor: Visitor, service: str) -> None:
    """The operators' view, with its curve."""
    await visitor.page.goto(f"{service}/#/status")
    await expect(visitor.page.locator(".chart")).to_be_visible()


async def docs(visitor: Visitor, service: str) -> None:
    """The API reference, one call unfolded."""
    await visitor.page.goto(f"{service}/docs")
    await visitor.page.locator("summary").first.click()


VIEWS = [home, refused, running, finished, huge, unknown, batch, status, docs]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.__name__)
async def test_a_view_is_accessible(visitor: Visitor, service: str, view: Any, scheme: Any) -> None:
    """axe-core finds no violation. The colour scheme changes only the contrast."""
    await visitor.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    await view(visitor, service)

    assert [] == await violations(visitor.page)


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.__name__)
async def test_a_view_fits_a_phone_and_a_zoomed_window(
    visitor: Visitor, service: str, view: Any
) -> None:
    """320 pixels wide (a window of 640 at 200 %): nothing sticks out sideways."""
    await visitor.page.set_viewport_size({"width": 320, "height": 600})
    await view(visitor, service)

    assert await visitor.page.evaluate("document.documentElement.scrollWidth") <= 320


async def test_reduced_motion_is_respected(visitor: Visitor, service: str) -> None:
    """Nothing moves by itself."""
    await visitor.page.emulate_media(reduced_motion="reduce")
    await running(visitor, service)

    moving = "document.getAnimations().filter(a => a.playState === 'running').length"
    assert 0 == await visitor.page.evaluate(moving)


async def test_the_page_weighs_little_and_comes_from_one_host(page: Page, service: str) -> None:
    """All that a first visit loads is counted, uncompressed."""
    responses: list[Response] = []

    def keep(response: Response) -> None:  # Playwright cannot call a method of a list
        responses.append(response)

    page.on("response", keep)
    await page.goto(service, wait_until="networkidle")
    # Read here and not in the handler: nothing waits for a handler, and the page may close while it runs.
    weights = {response.url: len(await response.body()) for response in tuple(responses)}

    assert {"home", "inter.woff2"} & {url.rpartition("/")[2] for url in weights}
    assert all(url.startswith(service) for url in weights)
    assert sum(weights.values()) < LIMIT_BYTES


async def test_a_second_visit_loads_nothing_but_the_document(page: Page, service: str) -> None:
    """Files are cached for good under their version."""
    await page.goto(service, wait_until="networkidle")
    await page.goto("about:blank")
    await page.goto(service, wait_until="networkidle")
    loaded = await page.evaluate(
        "performance.getEntriesByType('resource')"
        ".filter(e => e.name.includes('/web/') && e.transferSize > 0).map(e => e.name)"
    )

    assert [] == loaded
