"""`make screenshots`: takes the screenshots of the page that the documentation shows, from a real service."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from playwright.async_api import Browser, Page, ViewportSize
from playwright.async_api import TimeoutError as PlaywrightTimeoutError

from infra.tools.browser import run, submit

FOLDER = Path(__file__).parents[2] / "docs" / "images"

DESK: ViewportSize = {"width": 1100, "height": 760}
PHONE: ViewportSize = {"width": 390, "height": 844}

HARD = str(
    2**3 * 641 * 5915587277915587277915587277915587277987 * 7177162611777162611777162611777162612519
)
"""Small factors, found at once, and a composite of 80 digits that takes minutes."""

FINISH_MS = 120_000
SIEVE_MS = 300_000
"""How long the elliptic curves may take before the sieve begins."""
SHARE = re.compile(r"([3-9]\d|100) per cent")
"""In the chart's text for screen readers: at least 30 per cent of the relations have been found."""
COLLECT_MS = 420_000
THROUGHPUT_MS = 30_000


async def empty(page: Page, url: str) -> None:
    """The page at the first visit."""
    await page.goto(url)
    await page.get_by_label("A number or an expression").focus()


async def error(page: Page, url: str) -> None:
    """An invalid expression, with the fault marked."""
    await page.goto(url)
    await page.get_by_label("A number or an expression").fill("(2^89-1)*(3^61-2))/7")
    await page.locator("#hint mark").wait_for()


async def finished(page: Page, url: str) -> None:
    """An answer."""
    await submit(page, url, "2^211-1")
    await page.locator("#task").get_by_text("Factored", exact=True).wait_for(timeout=FINISH_MS)


async def on_a_phone(page: Page, url: str) -> None:
    """Another number: one that is known already would show no time."""
    await submit(page, url, "(10^59-1)/9")
    await page.locator("#task").get_by_text("Factored", exact=True).wait_for(timeout=FINISH_MS)


async def running(page: Page, url: str) -> None:
    """A number while it is sieved, or if it is not sieved in time, while its elliptic curves run."""
    await submit(page, url, HARD)
    await page.locator(".panel").wait_for()
    try:
        await page.get_by_text("Collecting relations").wait_for(timeout=SIEVE_MS)
        await page.get_by_role("img", name=SHARE).wait_for(timeout=COLLECT_MS)
    except PlaywrightTimeoutError:
        print("the sieve did not begin in time: the screenshot shows elliptic curves")  # noqa: T201 for who runs the command


async def status(page: Page, url: str) -> None:
    """The status view at work: the hard number of the previous screenshot is still running."""
    for number in ("2^128+1", "30!+1", "1234567890123456789"):
        await submit(page, url, number)
    await page.goto(f"{url}/#/status")
    await page.wait_for_timeout(THROUGHPUT_MS)


class Picture(NamedTuple):
    """A scene and the name of its file; with a second name it is taken in dark colours too."""

    scene: Callable[[Page, str], Awaitable[None]]
    name: str
    dark: str = ""
    window: ViewportSize = DESK
    scale: float = 1


PICTURES = (
    Picture(empty, "empty"),
    Picture(error, "error"),
    Picture(finished, "page"),
    Picture(on_a_phone, "phone", window=PHONE, scale=1.5),
    Picture(running, "running", dark="dark"),
    Picture(status, "status"),
)


async def take(browser: Browser, url: str, picture: Picture) -> None:
    """Take one screenshot of the whole view."""
    context = await browser.new_context(
        viewport=picture.window,
        device_scale_factor=picture.scale,
        reduced_motion="reduce",
        locale="en-GB",
    )
    page = await context.new_page()
    await picture.scene(page, url)
    await page.evaluate("document.fonts.ready")
    await save(page, picture.name)
    if picture.dark:
        await page.emulate_media(color_scheme="dark", reduced_motion="reduce")
        await save(page, picture.dark)
    await context.close()


async def save(page: Page, name: str) -> None:
    """Write the screenshot of the page as it is."""
    path = FOLDER / f"{name}.png"
    await page.screenshot(path=path, full_page=True)
    print(f"{path.name:<14}{path.stat().st_size / 1024:6.0f} KiB")  # noqa: T201 the command's report


async def take_all(browser: Browser, url: str) -> None:
    """Take all screenshots."""
    for picture in PICTURES:
        await take(browser, url, picture)


if __name__ == "__main__":
    run(take_all)
