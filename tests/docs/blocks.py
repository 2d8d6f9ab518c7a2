"""The code blocks of a page, and what a comment above one says about running it.

A block of `sh` or `python` is run, in the order of the page, as a reader pastes it. A `text` block
right after one is what it prints; `…` in it stands for anything. A comment above a block changes that:

    <!-- keeps running -->      it is a server: it goes on while the rest of the page is run
    <!-- save as NAME -->       it is the content of a file, which later blocks use
    <!-- not run: REASON -->    it cannot be run here, for the reason given
"""

import re
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

from infra.local.programs import ROOT

RUN = ("sh", "python")
COMMENT = re.compile(r"<!-- (keeps running|save as|not run:) ?(.*?) ?-->\s*", re.DOTALL)


class Block(NamedTuple):
    """A fenced block."""

    page: str
    line: int
    language: str
    """Empty for an indented block, or a fence that does not say."""
    text: str
    manner: str
    """How it is used, as the comment above it says; empty without one."""
    detail: str
    """The name or the reason in that comment."""

    @property
    def place(self) -> str:
        """Where it stands, for the message of a failure."""
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """Return the pages that tell a reader to do something."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    for folder in ("tutorial", "how-to"):
        found += sorted((ROOT / "docs" / folder).glob("*.md"))
    return [path.relative_to(ROOT).as_posix() for path in found]


def blocks(page: str) -> list[Block]:
    """Return the blocks of a page in their order."""
    found = []
    manner = detail = ""
    for token in MarkdownIt("commonmark").parse(Path(ROOT, page).read_text()):
        if token.type == "html_block" and (comment := COMMENT.fullmatch(token.content)):
            manner, detail = comment[1].rstrip(":"), " ".join(comment[2].split())
        elif token.type in ("fence", "code_block"):
            line = (token.map or [0])[0] + 1
            language = token.info.partition(" ")[0]
            found.append(Block(page, line, language, token.content, manner, detail))
            manner = detail = ""
        else:
            manner = detail = ""  # a comment is about what follows it at once
    return found
