"""`make site`: renders the Markdown of the repository as HTML in build/site; no broken link is let through.

Every page becomes .html in the place where its .md is, and files that pages link to are copied beside
them. It looks like the page of the service, because it uses its style sheet.
"""

import html
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
SITE = ROOT / "build" / "site"

LOOK = ("style.css", "inter.woff2", "stix.woff2", "icon.svg")
"""Files of gateway/web that the site shares."""

TEMPLATE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} · Factorline</title>
<link rel="icon" href="{root}gateway/web/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="{root}gateway/web/style.css">
<link rel="stylesheet" href="{root}infra/site.css">
<body>
<header class="top">
  <a class="name" href="{root}README.html">Factorline</a>
  <nav aria-label="Pages">
    <a href="{root}docs/README.html">Documentation</a>
    <a href="{root}CHANGELOG.html">Changes</a>
    <a href="{root}CONTRIBUTING.html">Contributing</a>
  </nav>
</header>
<main class="prose">
{body}</main>
</body>
</html>
"""


class Link(NamedTuple):
    """A link or an image, where it stands and where it leads."""

    line: int
    target: str


class Page:
    """One Markdown file, parsed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.markdown = MarkdownIt("commonmark").enable(["table", "strikethrough"])
        self.tokens = self.markdown.parse(path.read_text())
        self.anchors = self._number_headings()

    @property
    def title(self) -> str:
        """The text of the first heading."""
        headings = (
            inline
            for token, inline in zip(self.tokens, self.tokens[1:], strict=False)
            if token.type == "heading_open"
        )
        return next((_text(inline) for inline in headings), self.path.stem)

    def links(self) -> Iterator[Link]:
        """Yield every link and image."""
        for token in self.tokens:
            for child in token.children or ():
                target = child.attrGet("href") or child.attrGet("src")
                if target is not None:
                    yield Link((token.map or [0])[0] + 1, str(target))

    def render(self, root: str) -> str:
        """Return the page as HTML; ``root`` is the way from its folder to the top, such as ``../``."""
        for token in self.tokens:
            for child in token.children or ():
                target = str(child.attrGet("href") or "")
                if target and not urlsplit(target).scheme:
                    child.attrSet("href", re.sub(r"\.md(?=#|$)", ".html", target))
        body = self.markdown.renderer.render(self.tokens, self.markdown.options, {})
        # A wide table scrolls by itself instead of making the whole page wide.
        body = body.replace("<table>", '<div class="scroll"><table>')
        body = body.replace("</table>", "</table></div>")
        return TEMPLATE.format(title=html.escape(self.title), root=root, body=body)

    def _number_headings(self) -> set[str]:
        """Give every heading the id that GitHub gives it; return them all."""
        found: set[str] = set()
        for token, inline in zip(self.tokens, self.tokens[1:], strict=False):
            if token.type == "heading_open":
                name = slug(_text(inline))
                again = (f"{name}-{count}" for count in range(1, len(self.tokens)))
                name = name if name not in found else next(n for n in again if n not in found)
                token.attrSet("id", name)
                found.add(name)
        return found


def slug(heading: str) -> str:
    """Return the anchor that GitHub makes of a heading's text."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def _text(inline: Token) -> str:
    return "".join(
        child.content for child in inline.children or () if child.type in ("text", "code_inline")
    )


def pages(root: Path) -> dict[Path, Page]:
    """Return every page below a folder by its path; hidden folders and builds hold none."""
    paths = (
        path
        for path in sorted(root.rglob("*.md"))
        if not any(part[0] == "." or part == "build" for part in path.relative_to(root).parts)
    )
    return {path: Page(path) for path in paths}


def target_of(page: Page, link: Link) -> tuple[Path, str] | None:
    """Return the file and the anchor that a link names, or None if it leads out of the repository."""
    parts = urlsplit(link.target)
    if parts.scheme or parts.netloc:
        return None
    path = page.path if not parts.path else page.path.parent / unquote(parts.path)
    return path.resolve(), parts.fragment


def faults(root: Path) -> list[str]:
    """Return what is wrong with the links of the pages below a folder, a line each."""
    root = root.resolve()
    found = pages(root)
    reached = {root / "README.md"}
    wrong = []
    for page in found.values():
        for link in page.links():
            target = target_of(page, link)
            if target is None:
                continue
            path, anchor = target
            where = f"{page.path.relative_to(root)}:{link.line}: {link.target}"
            if not path.is_relative_to(root) or not path.is_file():
                wrong.append(f"{where}: there is no such file")
            elif anchor and (path not in found or anchor not in found[path].anchors):
                wrong.append(f"{where}: there is no such heading")
            elif path != page.path:
                reached.add(path)
    return wrong + [
        f"{path.relative_to(root)}: no page links to it" for path in found if path not in reached
    ]


def build(root: Path, site: Path) -> int:
    """Write the pages below a folder as HTML, anew; return how many there are."""
    root = root.resolve()
    shutil.rmtree(site, ignore_errors=True)
    found = pages(root)
    files = {root / "gateway" / "web" / name for name in LOOK} | {root / "infra" / "site.css"}
    for page in found.values():
        targets = (target_of(page, link) for link in page.links())
        files |= {target[0] for target in targets if target and target[0] not in found}
    for path in files:
        place = site / path.relative_to(root)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    for path, page in found.items():
        place = (site / path.relative_to(root)).with_suffix(".html")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(page.render("../" * (len(path.relative_to(root).parts) - 1)))
    shutil.copyfile(site / "README.html", site / "index.html")
    return len(found)


def main() -> None:
    """Build the site, or say which links are broken and end with status 1."""
    if wrong := faults(ROOT):
        sys.exit("\n".join(wrong))
    print(f"{build(ROOT, SITE)} pages: {SITE / 'index.html'}")  # noqa: T201 the command's report


if __name__ == "__main__":
    main()
