"""`make screenshots`: take the pictures of the page that the documentation shows, from a real service."""

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from playwright.async_api import Browser, Page, ViewportSize
from playwright.async_api import TimeoutError as PlaywrightTimeoutError

from common import errors
from infra.browser import chromium
from infra.local.processes import free_ports
from infra.local.programs import Embedded

FOLDER = Path(__file__).parents[1] / "docs" / "images"

DESK: ViewportSize = {"width": 1100, "height": 760}
PHONE: ViewportSize = {"width": 390, "height": 844}

HARD = str(
    2**3 * 641 * 5915587277915587277915587277915587277987 * 7177162611777162611777162611777162612519
)
"""Small factors that show at once, and a composite of 80 digits that takes minutes."""

SIEVE_MS = 300_000
"""How long the curves may take before the sieve begins."""
COLLECT_MS = 45_000
"""How long relations are collected before the picture."""
THROUGHPUT_MS = 30_000


async def ask(page: Page, url: str, number: str) -> None:
    """Submit a number through the page."""
    await page.goto(f"{url}/#/")
    field = page.get_by_label("A number or an expression")
    await field.fill(number)
    await field.press("Enter")
    await page.wait_for_url("**/#/task/*")


async def empty(page: Page, url: str) -> None:
    """The page as it is met first."""
    await page.goto(url)
    await page.get_by_label("A number or an expression").focus()


async def error(page: Page, url: str) -> None:
    """Something that is no number, with its place."""
    await page.goto(url)
    await page.get_by_label("A number or an expression").fill("(2^89-1)*(3^61-2))/7")
    await page.locator("#hint mark").wait_for()


async def finished(page: Page, url: str) -> None:
    """An answer."""
    await ask(page, url, "2^181-1")
    await page.get_by_text("Factored", exact=True).wait_for()


async def running(page: Page, url: str) -> None:
    """A number in its sieve; in its curves where the engine has none."""
    await ask(page, url, HARD)
    await page.locator(".panel").wait_for()
    try:
        await page.get_by_text("Collecting relations").wait_for(timeout=SIEVE_MS)
        await page.wait_for_timeout(COLLECT_MS)
    except PlaywrightTimeoutError:
        print("no sieve was seen: the picture shows curves")  # noqa: T201 for who runs the command


async def status(page: Page, url: str) -> None:
    """The operators' view with something to do."""
    await ask(page, url, HARD)
    await page.goto(f"{url}/#/status")
    await page.wait_for_timeout(THROUGHPUT_MS)


Scene = Callable[[Page, str], Awaitable[None]]


async def take(
    browser: Browser, url: str, scene: Scene, name: str, *, dark: str = "", phone: bool = False
) -> None:
    """Take a picture of as much as the view needs, and another one in the dark if that has a name."""
    context = await browser.new_context(
        viewport=PHONE if phone else DESK,
        device_scale_factor=2 if phone else 1,
        reduced_motion="reduce",
        locale="en-GB",
    )
    page = await context.new_page()
    await scene(page, url)
    await page.evaluate("document.fonts.ready")
    await save(page, name)
    if dark:
        await page.emulate_media(color_scheme="dark", reduced_motion="reduce")
        await save(page, dark)
    await context.close()


async def save(page: Page, name: str) -> None:
    """Write what the page shows."""
    path = FOLDER / f"{name}.png"
    await page.screenshot(path=path, full_page=True)
    print(f"{path.name:<14}{path.stat().st_size / 1024:6.0f} KiB")  # noqa: T201 the command's report


async def _main(url: str | None) -> None:
    async with contextlib.AsyncExitStack() as stack:
        browser = await stack.enter_async_context(chromium())
        if url is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            [port] = free_ports(1)
            service = Embedded(folder, port=port, settings={})
            url = (await stack.enter_async_context(service)).url
        await take(browser, url, empty, "empty")
        await take(browser, url, error, "error")
        await take(browser, url, finished, "page")
        await take(browser, url, finished, "phone", phone=True)
        await take(browser, url, running, "running", dark="dark")
        await take(browser, url, status, "status")


def main() -> None:
    """Run the program; a `FactorlineError` ends it with its message and status 1."""
    try:
        asyncio.run(_main(sys.argv[1] if len(sys.argv) > 1 else None))
    except errors.FactorlineError as failure:
        sys.exit(f"screenshots: {failure}")


if __name__ == "__main__":
    main()
