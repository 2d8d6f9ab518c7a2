"""How many bytes does the page load, and how soon is its first paint?

    make paint
    python -m benchmarks.page [URL]

It uses a real browser, and without a URL a service of its own.
"""

import statistics

from playwright.async_api import Browser, Response

from infra.tools.browser import run

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


async def measure(browser: Browser, url: str) -> None:
    """Print how much a visit loads and when it paints first."""
    visits = [await visit(browser, url) for _ in range(VISITS)]
    paints = sorted(paint for paint, _, _ in visits)
    weight, files = visits[-1][1:]
    print(f"{weight / 1024:.1f} KiB in {files} files, uncompressed")
    print(f"first contentful paint: median {statistics.median(paints):.0f} ms, ", end="")
    print(f"first visit {visits[0][0]:.0f} ms, worst {paints[-1]:.0f} ms of {VISITS}, cache empty")


if __name__ == "__main__":
    run(measure)
