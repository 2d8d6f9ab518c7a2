"""The page with one number: see what it is, submit it, watch it, keep its answer."""

import json

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser import numbers
from tests.browser.conftest import Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_field_says_at_once_what_a_number_is(page: Page, service: str) -> None:
    """Digits and value are shown while typing, before anything is submitted."""
    await page.goto(service)
    await page.keyboard.type("2^128+1")

    await expect(page.locator("#hint")).to_contain_text("39 digits")
    await expect(page.locator("#hint")).to_contain_text("340282366920938463463374607431768211457")
    assert "#/task" not in page.url


async def test_a_number_copied_with_gaps_is_one_number(page: Page, service: str) -> None:
    """Spaces, line breaks and commas between digits are removed; in an expression spaces stay."""
    await page.goto(service)
    field = page.get_by_label("A number or an expression")
    await field.fill("1 234 567\n890,123")
    await expect(page.locator("#hint")).to_contain_text("13 digits")
    await field.fill("1234 + 1")
    await expect(page.locator("#hint")).to_contain_text("1235")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("2+*3", "(character 3)"),
        ("hello", "not part of an integer"),
        ("1.5", "not part of an integer"),
        ("9^9^9^9", "1000"),
        ("1" * 1001, "1000"),
        ("<img src=x onerror=alert(1)>", "not part of an integer"),
    ],
)
async def test_bad_input_is_explained_and_makes_no_task(
    page: Page, service: str, text: str, says: str
) -> None:
    """While typing and after submitting; the field is marked and keeps the text and the focus."""
    await page.goto(service)
    field = page.get_by_label("A number or an expression")
    await field.fill(text)
    await expect(page.locator("#hint")).to_contain_text(says)
    await field.press("Enter")

    await expect(page.get_by_role("button", name="Factor", exact=True)).to_be_enabled()
    await expect(page.locator("#hint")).to_contain_text(says)
    await expect(field).to_have_attribute("aria-invalid", "true")
    await expect(field).to_be_focused()
    await expect(field).to_have_value(text)
    await expect(page.locator("#my-tasks")).to_be_hidden()


async def test_the_place_of_an_error_is_shown(page: Page, service: str) -> None:
    """The character at fault is marked among its neighbours."""
    await page.goto(service)
    await page.get_by_label("A number or an expression").fill("2+*3")

    await expect(page.locator("#hint mark")).to_have_text("*")


@pytest.mark.parametrize(
    ("number", "equation", "word"),
    [
        ("1234", "=2 × 617", "Factored"),
        ("-720720", "=−1 × 24 × 32 × 5 × 7 × 11 × 13", "Factored"),
        ("2^127-1", "170141183460469231731687303715884105727 is prime", "Prime"),
        ("0", "=0", "Factored"),
        ("1", "=1", "Factored"),
    ],
)
async def test_an_answer_is_written_as_mathematics(
    visitor: Visitor, service: str, number: str, equation: str, word: str
) -> None:
    """Exponents are raised, digits are grouped by gaps that are not characters."""
    await visitor.submit(service, number)

    await expect(visitor.page.locator(".task-state .state")).to_have_text(word)
    await expect(visitor.page.locator(".equation")).to_have_text(equation)


async def test_a_finished_number_shows_what_it_took(visitor: Visitor, service: str) -> None:
    """The digits and the type of each factor are shown, and the time that it took."""
    await visitor.submit(service, "2^67-1")
    page = visitor.page

    row = page.get_by_role("row").filter(has_text="761838257287")
    await expect(row).to_contain_text("12")
    await expect(row).to_contain_text("proven prime")
    await expect(page.locator(".figures")).to_contain_text("time")


async def test_the_answer_is_copied_as_text_latex_json_and_python(
    visitor: Visitor, service: str
) -> None:
    """Each form is exact, whatever the page draws between digits."""
    await visitor.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await visitor.submit(service, "12^2*10007")
    copied = {}
    for form in ("Text", "LaTeX", "JSON", "Python"):
        await visitor.page.get_by_role("button", name=f"Copy as {form}").click()
        await expect(visitor.page.locator("#announcer")).to_have_text(f"Copy as {form}: copied")
        copied[form] = await visitor.page.evaluate("navigator.clipboard.readText()")

    assert "1441008 = 2^4 * 3^2 * 10007" == copied["Text"]
    assert r"1441008 = 2^{4} \cdot 3^{2} \cdot 10007" == copied["LaTeX"]
    assert "{2: 4, 3: 2, 10007: 1}" == copied["Python"]
    document = json.loads(copied["JSON"])
    assert ["2", "3", "10007"] == [factor["prime"] for factor in document["factors"]]
    assert "1441008" == document["number"]


async def test_a_running_number_is_watched_and_cancelled(visitor: Visitor, service: str) -> None:
    """The page shows the factors so far, the stage and the work done, and then that it was cancelled."""
    await visitor.submit(service, numbers.ENDLESS)
    page = visitor.page
    await expect(page.locator(".task-state .state")).to_have_text("Running")
    await expect(page.locator(".equation")).to_have_text("=283 × 2347 × 134 digits")
    await expect(page.locator(".stages [aria-current=step]")).to_contain_text("Elliptic curves")
    await expect(page.locator(".stages")).to_contain_text("Survey: done")
    await expect(page.locator(".panel")).to_contain_text("elliptic curves")
    await page.get_by_role("button", name="Cancel").click()

    await expect(page.locator(".task-state .state")).to_have_text("Cancelled")
    await expect(page.locator(".equation")).to_contain_text("283 × 2347")
    await expect(page.get_by_role("button", name="Cancel")).to_have_count(0)


async def test_a_cancelled_number_can_be_resumed(visitor: Visitor, service: str) -> None:
    """Resuming makes another task, which starts from what is known."""
    page = visitor.page
    first = await visitor.submit(service, f"3*({numbers.ENDLESS})")
    await page.get_by_role("button", name="Cancel").click()
    await page.get_by_role("button", name="Resume").click()
    await page.wait_for_url(lambda url: url != first)
    await expect(page.locator(".task-state .state")).to_have_text("Running")
    await page.get_by_role("button", name="Cancel").click()

    await expect(page.locator(".task-state .state")).to_have_text("Cancelled")


async def test_a_link_opens_in_another_browser(
    visitor: Visitor, browser: Browser, service: str
) -> None:
    """A task's address is enough to see it."""
    address = await visitor.submit(service, "10^20+1")
    other = await browser.new_context()
    page = await other.new_page()
    await page.goto(address)

    await expect(page.locator(".equation")).to_contain_text("73 × 137 × 1676321")
    await other.close()


async def test_an_unknown_task_is_not_found(page: Page, service: str) -> None:
    """A broken link leads to a page that leads on."""
    await page.goto(f"{service}/#/task/00000000-0000-4000-8000-000000000000")

    await expect(page.get_by_role("heading", name="Task not found")).to_be_visible()
    await expect(page.get_by_role("link", name="Factor a number")).to_be_visible()


async def test_my_tasks_survive_a_reload(visitor: Visitor, browser: Browser, service: str) -> None:
    """The list is of this browser alone, newest first, and its running tasks are still followed."""
    page = visitor.page
    await visitor.submit(service, "1001")
    await visitor.submit(service, numbers.SECONDS)
    await page.goto(f"{service}/#/")
    await page.reload()

    rows = page.locator("#tasks li")
    await expect(rows).to_have_count(2)
    await expect(rows.nth(1)).to_contain_text("7 × 11 × 13")
    await expect(rows.nth(0)).to_contain_text("Factored", timeout=60_000)
    stranger = await (await browser.new_context()).new_page()
    await stranger.goto(service)
    await expect(stranger.locator("#my-tasks")).to_be_hidden()
    await stranger.context.close()


async def test_everything_can_be_done_without_a_mouse(page: Page, service: str) -> None:
    """Type, Enter, Tab to Cancel, Enter; and the skip link is the first stop."""
    await page.goto(service)
    await page.keyboard.type(f"7*({numbers.ENDLESS})")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/#/task/*")
    await expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    for _ in range(30):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.textContent") == "Cancel":
            break
    await page.keyboard.press("Enter")
    await expect(page.locator(".task-state .state")).to_have_text("Cancelled")
    await page.reload()
    await page.keyboard.press("Tab")

    await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()


async def test_a_number_of_a_thousand_digits_fits_and_is_copied(
    visitor: Visitor, service: str
) -> None:
    """It wraps in a window of 320 pixels, and selecting it gives its digits and nothing else."""
    page = visitor.page
    await page.set_viewport_size({"width": 320, "height": 640})
    await visitor.submit(service, numbers.HUGE)
    await page.get_by_text("All digits").click()

    assert numbers.HUGE == await page.locator(".long-number").inner_text()
    assert await page.evaluate("document.documentElement.scrollWidth") <= 320
