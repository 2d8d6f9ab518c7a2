"""How the page shows the progress that a gateway reports: curves, relations and the matrix.

The tests send the frames themselves, made of the gateway's own models, because when a real number is in
which stage is up to the engine.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from playwright.async_api import Page, WebSocketRoute, expect

from common.domain import Status
from gateway.views import models
from gateway.websocket.messages import Hello, ServerMessage, Snapshot, SocketLimits, Update

pytestmark = pytest.mark.asyncio(loop_scope="session")

TASK_ID = "00000000-0000-4000-8000-000000000001"
COMPOSITE = str(10**94 + 7)

Show = Callable[..., Awaitable[None]]


def task(version: int, **progress: Any) -> models.TaskView:
    """Return a running task with this progress."""
    return models.TaskView(
        task_id=TASK_ID,
        number=str(9 * int(COMPOSITE)),
        expression="9*(10^94+7)",
        status=Status.RUNNING,
        done=False,
        result=None,
        factors=[models.Factor(prime="3", exponent=2, certainty="proven")],
        composites=[
            models.Composite(value=COMPOSITE, exponent=1, digits=95, certainty="composite")
        ],
        progress=models.Progress(units_issued=9, units_outstanding=2, **progress),
        reason=None,
        waiting=None,
        version=version,
        created_at="2026-01-01T00:00:00.000+00:00",
        ended_at=None,
        links=models.TaskLinks(self_=f"/tasks/{TASK_ID}", number="/numbers/1", legacy="/get/x"),
    )


def relations(usable: int) -> models.SieveProgress:
    """Return the progress of a sieve with this many of 60 000 relations."""
    return models.SieveProgress(
        digits=95, full=usable // 2, partial=9 * usable, usable=usable, needed=60_000, rate=812.0
    )


@pytest_asyncio.fixture(loop_scope="session")
async def show(page: Page, service: str) -> Show:
    """Return a function that makes the page show a state of the task, each call a newer one."""
    opened: list[WebSocketRoute] = []

    def send(message: ServerMessage) -> None:
        opened[-1].send(msgspec.json.encode(message).decode())

    def on_socket(route: WebSocketRoute) -> None:
        route.on_message(lambda _: None)
        opened.append(route)
        limits = SocketLimits(subscriptions=10, frame_bytes=1000)
        send(Hello(heartbeat_s=20.0, limits=limits, authenticated=True))

    await page.route("**/tasks/*", lambda route: route.abort())
    await page.route_web_socket("**/ws", on_socket)
    version = 0

    async def show(**progress: Any) -> None:
        nonlocal version
        version += 1
        if version == 1:
            await page.goto(f"{service}/#/task/{TASK_ID}")
            await expect(page.locator("#task")).to_contain_text("Loading")
        view = task(version, **progress)
        send(Snapshot(task=view) if version == 1 else Update(task=view))

    return show


async def test_curves_show_the_sizes_of_factors_that_they_make_unlikely(
    page: Page, show: Show
) -> None:
    """A scale up to half of the composite's digits is filled as far as the curves have searched."""
    curves = models.CurveProgress(digits=95, done=214, wanted=904, ruled_out_digits=24)
    await show(stage="ecm", curves=curves)

    await expect(page.locator(".panel")).to_contain_text("of 904 curves done")
    scale = page.get_by_role(
        "img", name="Factors of up to 24 digits are unlikely now; the smallest has at most 48"
    )
    await expect(scale).to_be_visible()
    width = "e => e.getBoundingClientRect().width"
    ruler = await page.locator(".ruler").evaluate(width)
    assert 0.5 == pytest.approx(await page.locator(".shade").evaluate(width) / ruler, abs=0.01)


async def test_relations_are_drawn_against_the_number_needed(page: Page, show: Show) -> None:
    """Every state adds a point; no remaining time is shown before a rate has been seen."""
    for usable in (1000, 2000, 3000):
        await show(stage="sieve", sieve=relations(usable), workers=4)
        await expect(page.locator(".panel")).to_contain_text(f"needed{usable // 1000}\u202f000")

    await expect(page.locator(".panel")).to_contain_text("no estimate yet")
    await expect(page.locator(".chart .projection")).to_have_count(0)
    path = await page.locator(".chart .curve").get_attribute("d")
    assert path is not None
    assert (1, 2) == (path.count("M"), path.count("L"))
    await expect(page.locator(".figures").last).to_contain_text("workers4")
    await expect(page.locator(".stages")).to_contain_text("Elliptic curves: not started")
    await expect(page.locator(".stages [aria-current=step]")).to_contain_text("Sieve")


async def test_the_remaining_time_is_the_gateways_estimate(page: Page, show: Show) -> None:
    """An estimate is shown rounded, and drawn as a projection to the number needed."""
    await show(stage="sieve", sieve=relations(30_000), eta_seconds=305.0)

    await expect(page.locator(".panel")).to_contain_text("about 5 minutes")
    await expect(page.locator(".chart .projection")).to_have_count(1)


async def test_the_chart_survives_a_reload(page: Page, show: Show) -> None:
    """What this tab has seen is still drawn."""
    await show(stage="sieve", sieve=relations(1000))
    await show(stage="sieve", sieve=relations(2000))
    await expect(page.locator(".panel")).to_contain_text("needed2\u202f000")
    await page.reload()
    await expect(page.locator("#task")).to_contain_text("Loading")
    await show(stage="sieve", sieve=relations(3000))

    await expect(page.locator(".panel")).to_contain_text("needed3\u202f000")
    path = await page.locator(".chart .curve").get_attribute("d")
    assert path is not None
    assert 2 == path.count("L")


async def test_linear_algebra_shows_its_rows(page: Page, show: Show) -> None:
    """The step, the size and how far it is are shown, and the stages before it count as done."""
    matrix = models.MatrixProgress(stage="matrix", rows=61_234, done=20_000, of=61_234)
    await show(stage="solve", sieve=relations(60_000), matrix=matrix)

    await expect(page.locator(".panel")).to_contain_text("61\u202f234 rows")
    await expect(page.locator("progress")).to_have_attribute("value", "20000")
    await expect(page.locator(".stages")).to_contain_text("Sieve: done")


async def test_an_older_state_is_ignored(page: Page, show: Show) -> None:
    """What is drawn never goes back in time."""
    await show(stage="sieve", sieve=relations(5000))
    await expect(page.locator(".panel")).to_contain_text("needed5\u202f000")
    old = Update(task=task(0, stage="survey"))
    await page.evaluate(
        "import(document.querySelector('script').src.replace('main.js', 'live.js'))"
        f".then(live => live.deliver({msgspec.json.encode(old.task).decode()}))"
    )

    await expect(page.locator(".stages [aria-current=step]")).to_contain_text("Sieve")
