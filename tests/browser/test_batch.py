"""The page's batch view: many numbers at once."""

import csv
import io
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def submit(page: Page, service: str, *lines: str) -> None:
    """Submit lines through the batch box."""
    await page.goto(f"{service}/#/batch")
    await page.get_by_label("Numbers or expressions").fill("\n".join(lines))
    await page.get_by_role("button", name="Factor all").click()


async def test_a_batch_shows_the_result_of_each_line(page: Page, service: str) -> None:
    """Good lines are factored, a bad one is explained, an empty one is skipped."""
    await submit(page, service, "1234", "", "2^64+1", "nonsense")

    await expect(page.locator("#batch-summary")).to_have_text("All 3 numbers done")
    rows = page.locator("#batch-result tbody tr")
    await expect(rows.nth(0)).to_contain_text("2 × 617")
    await expect(rows.nth(1)).to_contain_text("274177 × 67280421310721")
    await expect(rows.nth(2)).to_contain_text("Refused")


async def test_a_batch_is_downloaded_as_csv(page: Page, service: str, tmp_path: Path) -> None:
    """One line for each number, in order, safe to open in a spreadsheet."""
    await submit(page, service, "-12", "2^64+1", "=cmd|' /C calc'!A0", "0")
    await expect(page.locator("#batch-summary")).to_have_text("All 4 numbers done")
    async with page.expect_download() as started:
        await page.get_by_role("button", name="Download CSV").click()
    download = await started.value
    path = tmp_path / download.suggested_filename
    await download.save_as(path)
    rows = list(csv.DictReader(io.StringIO(path.read_text())))

    assert "factorline.csv" == path.name
    assert ["-1 2^2 3", "274177 67280421310721", "", "0"] == [row["factors"] for row in rows]
    assert ["succeeded", "succeeded", "refused", "succeeded"] == [row["status"] for row in rows]
    assert ["-12", "2^64+1", "'=cmd|' /C calc'!A0", "0"] == [row["input"] for row in rows]


async def test_a_batch_survives_a_reload(page: Page, service: str) -> None:
    """Its lines and their results are shown again."""
    await submit(page, service, "91", "x")
    await expect(page.locator("#batch-summary")).to_be_visible()
    await page.reload()

    await expect(page.locator("#batch-summary")).to_have_text("All 2 numbers done")
    await expect(page.locator("#batch-result")).to_contain_text("7 × 13")


async def test_a_batch_may_have_a_thousand_lines(page: Page, service: str) -> None:
    """They need more than one request and more than one frame; each number is factored."""
    await submit(page, service, *(str(10**6 + number) for number in range(1000)))

    await expect(page.locator("#batch-summary")).to_have_text(
        "All 1\u202f000 numbers done", timeout=90_000
    )
