"""How Sphinx builds the documentation: `make site`.

The source folder is the root of the repository, so that pages link to each other and to source files by the
same relative paths as on a forge. A link to a file that is no page becomes a download of that file.
"""
# ruff: noqa: INP001  Sphinx reads this file; it belongs to no package

import shutil
from pathlib import Path
from typing import Any

project = "Factorline"
root_doc = "README"
extensions = ["myst_parser"]
include_patterns = [
    "*.md",
    "docs/**.md",
    "gateway/web/README.md",
    "tests/browser/vendor/README.md",
]
exclude_patterns = [".*", "build"]
myst_heading_anchors = 3
suppress_warnings = ["misc.highlighting_failure"]  # an ellipsis stands for what a page leaves out

html_theme = "furo"
html_title = "Factorline"
html_favicon = "../gateway/web/icon.svg"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_use_index = False

NAVIGATION = {
    "Start": ["docs/README", "docs/tutorial/first-numbers"],
    "How to": [
        "docs/how-to/install",
        "docs/how-to/watch",
        "docs/how-to/use-the-command",
        "docs/how-to/write-a-client",
        "docs/how-to/run",
        "docs/how-to/compose",
        "docs/how-to/several-machines",
        "docs/how-to/behind-haproxy",
        "docs/how-to/watch-queues",
        "docs/how-to/operate",
        "docs/how-to/keys",
        "docs/how-to/back-up",
        "docs/how-to/upgrade",
    ],
    "Reference": [
        "docs/reference/http",
        "docs/reference/websocket",
        "docs/reference/command",
        "docs/reference/settings",
        "docs/reference/metrics",
        "docs/reference/messages",
        "docs/reference/measurements",
        "docs/reference/recovery",
        "docs/reference/fault-laboratory",
        "docs/reference/dependencies",
    ],
    "Explanation": [
        "docs/explanation/architecture",
        "docs/explanation/bounded-units",
        "docs/explanation/engine",
        "docs/explanation/threat-model",
        "docs/explanation/large-clusters",
        "docs/explanation/glossary",
    ],
    "Project": [
        "CHANGELOG",
        "CONTRIBUTING",
        "docs/adr/README",
        "docs/notes/README",
        "gateway/web/README",
        "tests/browser/vendor/README",
    ],
}
"""The sidebar: captions, and the pages below each. A page that is missing here fails the build."""

BELOW = {
    "docs/adr/README": ("Decisions", "docs/adr/0*"),
    "docs/notes/README": ("Notes", "docs/notes/2*"),
}
"""Index pages, and the pages that stand below each."""


def toctree(caption: str, *pages: str) -> str:
    """Return the directive that puts pages into the sidebar."""
    entries = "\n".join(f"/{page}" for page in pages)
    return f"\n```{{toctree}}\n:hidden:\n:glob:\n:caption: {caption}\n\n{entries}\n```\n"


def add_navigation(_app: Any, name: str, source: list[str]) -> None:
    """Add the sidebar to a page as it is read, so that the Markdown itself stays free of directives."""
    if name == root_doc:
        source[0] += "".join(toctree(caption, *pages) for caption, pages in NAVIGATION.items())
    if name in BELOW:
        source[0] += toctree(*BELOW[name])


def add_index(app: Any, error: Exception | None) -> None:
    """Show the first page at the address of the site itself."""
    if error is None:
        shutil.copyfile(Path(app.outdir, f"{root_doc}.html"), Path(app.outdir, "index.html"))


def setup(app: Any) -> None:
    """Connect the functions above to the build."""
    app.connect("source-read", add_navigation)
    app.connect("build-finished", add_index)
