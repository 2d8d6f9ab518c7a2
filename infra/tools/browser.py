"""Starts the Chromium of the system for tests and pictures of the page; none is ever downloaded."""

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from playwright.async_api import Browser, async_playwright

from common import errors
from infra.local.processes import find_program, free_ports
from infra.local.programs import Embedded

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


def run(work: Callable[[Browser, str], Awaitable[None]]) -> None:
    """Do a command's work with a browser and the service that the command line names, or its own.

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
