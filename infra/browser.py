"""Starts the Chromium of the system for tests and pictures of the page; none is ever downloaded."""

import contextlib
from collections.abc import AsyncIterator

from playwright.async_api import Browser, async_playwright

from infra.local.processes import find_program

HOW = "on Debian `apt-get install -y --no-install-recommends chromium`"

FLAGS = (
    "--no-sandbox",  # it does not start as root with it, and sees only pages of our own
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Yield a headless browser.

    Raises:
        NotInstalled: There is no Chromium here.

    """
    program = find_program("chromium", how=HOW)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        try:
            yield browser
        finally:
            await browser.close()
