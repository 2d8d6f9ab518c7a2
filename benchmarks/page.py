"""Weighs the page and times its first paint in a real browser: `python -m benchmarks.page [URL]`."""

import asyncio
import contextlib
import statistics
import sys
import tempfile
from pathlib import Path

from playwright.async_api import Browser, Response

from common import errors
from infra.browser import chromium
from infra.local.processes import free_ports
from infra.local.programs import Embedded

VISITS = 15
PAINT = """new Promise(resolve => new PerformanceObserver((list, observer) => {
  for (const entry of list.getEntriesByName("first-contentful-paint")) {
    observer.disconnect();
    resolve(entry.startTime);
  }
}).observe({type: "paint", buffered: true}))"""


async def visit(browser: Browser, url: str) -> tuple[float, int, int]:
    """Visit with an empty cache; return milliseconds to the first paint, bytes, and files."""
    context = await browser.new_context()
    page = await context.new_page()
    answers: list[Response] = []

    def keep(answer: Response) -> None:  # Playwright cannot call a method of a list
        answers.append(answer)

    page.on("response", keep)
    await page.goto(url, wait_until="networkidle")
    paint = float(await page.evaluate(PAINT))
    weight = sum([len(await answer.body()) for answer in answers])
    await context.close()
    return paint, weight, len(answers)


async def _main(url: str | None) -> None:
    async with contextlib.AsyncExitStack() as stack:
        browser = await stack.enter_async_context(chromium())
        if url is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            [port] = free_ports(1)
            service = Embedded(folder, port=port, settings={})
            url = (await stack.enter_async_context(service)).url
        visits = [await visit(browser, url) for _ in range(VISITS)]
    paints = sorted(paint for paint, _, _ in visits)
    weight, files = visits[-1][1:]
    print(f"weight {weight / 1024:.1f} KiB in {files} files, uncompressed")
    print(f"first contentful paint: median {statistics.median(paints):.0f} ms, ", end="")
    print(f"first visit {visits[0][0]:.0f} ms, worst {paints[-1]:.0f} ms of {VISITS}, cache empty")


def main() -> None:
    """Run the program; a `FactorlineError` ends it with its message and status 1."""
    try:
        asyncio.run(_main(sys.argv[1] if len(sys.argv) > 1 else None))
    except errors.FactorlineError as failure:
        sys.exit(f"page: {failure}")


if __name__ == "__main__":
    main()
