"""The page with API keys: it asks for one, keeps it in the tab, and asks again once it is revoked."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import expect

from common.domain import new_key
from common.store.sqlite import SqliteStore
from infra.local.processes import free_ports
from infra.local.programs import Embedded
from tests.browser.conftest import Visitor
from tests.browser.test_views import violations

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def locked(tmp_path: Path) -> AsyncIterator[str]:
    """Yield the address of a service with keys, whose store is in the test's folder."""
    [port] = free_ports(1)
    settings = {"FACTORLINE_SLOTS": "1", "FACTORLINE_KEYS": "true"}
    async with Embedded(tmp_path, port=port, settings=settings) as service:
        yield service.url


async def test_a_key_is_asked_for_kept_in_the_tab_and_asked_for_again_once_revoked(
    locked: str, visitor: Visitor, tmp_path: Path
) -> None:
    """A wrong key is reported; with the right one everything works, after a reload too."""
    store = SqliteStore(tmp_path / "data" / "factorline.sqlite3")
    await store.open()
    made = new_key("ann", now=time.time())
    await store.insert_key(made.key)
    page = visitor.page
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    page.on("websocket", lambda socket: sent.append(socket.url))
    await page.goto(locked)
    form = page.locator("#key-form")
    await expect(form).to_contain_text("needs an API key")
    assert [] == await violations(page)

    await page.get_by_role("textbox", name="API key").fill(f"fl_{'x' * 43}")
    await page.get_by_role("button", name="Use this key").click()
    await expect(form).to_contain_text("Unknown or revoked")
    await page.get_by_role("textbox", name="API key").fill(made.secret)
    await page.get_by_role("button", name="Use this key").click()
    await expect(form).to_be_hidden()
    await visitor.submit(locked, "1234")
    await expect(page.locator("#task")).to_contain_text("617")
    await page.reload()
    await expect(page.locator("#task")).to_contain_text("617")
    await expect(form).to_be_hidden()
    await expect(page.locator("#offline")).to_be_hidden()

    await store.revoke_key(made.key.key_id, time.time())
    await expect(form).to_contain_text("Unknown or revoked", timeout=10_000)
    await expect(page.locator("#offline")).to_be_hidden()
    assert "" == await page.evaluate("sessionStorage.getItem('factorline.key')")
    assert [] == await page.evaluate("Object.values(localStorage).filter(t => t.includes('fl_'))")
    assert not any(made.secret in url for url in sent)
    await store.close()
