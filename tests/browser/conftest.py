"""A real Chromium and a real service process; what the browser complains of fails the test."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, expect
from playwright.async_api import Error as PlaywrightError

from infra.local.processes import NotInstalled, free_ports
from infra.local.programs import Embedded
from infra.tools.browser import chromium

EXPECTED = ("Failed to load resource", "WebSocket connection to")
"""What Chromium itself reports of a 4xx answer or a service that is down; everything else is a fault."""

expect.set_options(timeout=30_000)  # as all else that waits: a busy machine is no fault of the page


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Yield the browser that all tests share."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            browser = await stack.enter_async_context(chromium())
        except NotInstalled as error:
            pytest.skip(f"chromium: {error}")
        yield browser


def embedded(folder: Path) -> Embedded:
    """Return a service of our own that is not started."""
    [port] = free_ports(1)
    return Embedded(folder, port=port, settings={"FACTORLINE_SLOTS": "1"})


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Embedded]:
    """Yield the service behind `service`."""
    async with embedded(tmp_path_factory.mktemp("embedded")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def service(shared_service: Embedded) -> AsyncIterator[str]:
    """Yield the address of a running service that all tests share; one that ends it fails, alone."""
    await shared_service.start()
    yield shared_service.url
    shared_service.require_running()


class Visitor:
    """Somebody with a browser of their own: nothing stored in it, complaints kept."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self._asked: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(EXPECTED):
            self.complaints.append(message.text)

    async def ask(self, url: str, number: str) -> str:
        """Submit a number through the field; return the address of its task."""
        await self.page.goto(f"{url}/#/")
        field = self.page.get_by_label("A number or an expression")
        await field.fill(number)
        await field.press("Enter")
        await self.page.wait_for_url("**/#/task/*")
        self._asked.append(f"{url}/tasks/{self.page.url.rpartition('/')[2]}")
        return self.page.url

    async def leave(self) -> None:
        """Cancel what runs on, so that it does not hold up the next test."""
        with contextlib.suppress(PlaywrightError):  # the service was the test's own, and is gone
            for address in self._asked:
                await self.page.request.delete(address)


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(browser: Browser) -> AsyncIterator[Visitor]:
    """Yield a visitor; a script error or a broken policy fails the test."""
    context = await browser.new_context(accept_downloads=True)
    visitor = Visitor(await context.new_page())
    yield visitor
    await visitor.leave()
    await context.close()
    assert [] == visitor.complaints


@pytest.fixture
def page(visitor: Visitor) -> Page:
    """Return the visitor's page."""
    return visitor.page
