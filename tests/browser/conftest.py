"""A real Chromium and a real service process. A script error in the browser fails the test."""

import contextlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, expect
from playwright.async_api import Error as PlaywrightError

from infra.local.processes import NotInstalled
from infra.local.programs import Embedded
from infra.tools.browser import chromium, submit
from tests import servers

EXPECTED = ("Failed to load resource", "WebSocket connection to")
"""What Chromium itself logs about a 4xx answer or a service that is down; any other message is a fault."""

expect.set_options(timeout=30_000)  # generous: a busy machine is not the page's fault


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Yield the browser that all tests share."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            browser = await stack.enter_async_context(chromium())
        except NotInstalled as error:
            pytest.skip(f"chromium: {error}")
        yield browser


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Embedded]:
    """Yield the process behind `service`."""
    async with servers.embedded(tmp_path_factory.mktemp("embedded")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def service(shared_service: Embedded) -> AsyncIterator[str]:
    """Yield the URL of a running service that all tests share; only a test that stops it fails."""
    await shared_service.start()
    yield shared_service.url
    shared_service.require_running()


class Visitor:
    """A user with a fresh browser context; it collects the errors in the console."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        self._submitted: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(EXPECTED):
            self.errors.append(message.text)

    async def submit(self, url: str, number: str) -> str:
        """Submit a number through the field; return the URL of its task's page."""
        await submit(self.page, url, number)
        self._submitted.append(f"{url}/tasks/{self.page.url.rpartition('/')[2]}")
        return self.page.url

    async def leave(self) -> None:
        """Cancel the tasks, so that none of them holds up the next test."""
        with contextlib.suppress(PlaywrightError):  # the service was the test's own and has stopped
            for address in self._submitted:
                await self.page.request.delete(address)


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(browser: Browser) -> AsyncIterator[Visitor]:
    """Yield a visitor; a script error or a violation of the content security policy fails the test."""
    context = await browser.new_context(accept_downloads=True)
    visitor = Visitor(await context.new_page())
    yield visitor
    await visitor.leave()
    await context.close()
    assert [] == visitor.errors


@pytest.fixture
def page(visitor: Visitor) -> Page:
    """Return the visitor's page."""
    return visitor.page
