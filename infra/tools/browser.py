"""Starts the system's Chromium for tests and screenshots of the page; a browser is never downloaded."""

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright

from common import errors
from infra.local.processes import find_program, free_ports
from infra.local.programs import Embedded

HOW = "Install it with `apt-get install -y --no-install-recommends chromium` (Debian)"

FLAGS = (
    "--no-sandbox",  # with the sandbox it does not start as root; it opens only our own pages
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextlib.asynccontextmanager
async def chromium(*flags: str) -> AsyncIterator[Browser]:
    """Yield a headless browser, with some more flags.

    Raises:
        NotInstalled: Chromium is not installed.

    """
    program = find_program("chromium", how=HOW)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=[*FLAGS, *flags])
        try:
            yield browser
        finally:
            await browser.close()


async def submit(page: Page, url: str, number: str) -> None:
    """Submit a number through the page of a service, and wait until its task is shown."""
    await page.goto(f"{url}/#/")
    field = page.get_by_label("A number or an expression")
    await field.fill(number)
    await field.press("Enter")
    await page.wait_for_url("**/#/task/*")


def run(work: Callable[[Browser, str], Awaitable[None]]) -> None:
    """Call `work` with a browser and the URL of a service: the one on the command line, or a fresh one.

    A `FactorlineError` ends the program with its message and status 1.
    """
    try:
        asyncio.run(_run(work, *sys.argv[1:2]))
    except errors.FactorlineError as error:
        sys.exit(str(error))


async def _run(work: Callable[[Browser, str], Awaitable[None]], url: str = "") -> None:
    async with contextlib.AsyncExitStack() as stack:
        browser = await stack.enter_async_context(chromium())
        if not url:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            [port] = free_ports(1)
            service = Embedded(folder, port=port, settings={})
            url = (await stack.enter_async_context(service)).url
        await work(browser, url)
