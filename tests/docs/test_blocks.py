"""What the README, the tutorial and the how-tos tell a reader to do works as pasted, in order."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.docs.blocks import RUN, Block, blocks, pages
from tests.docs.reader import Reader, Servers, compare

pytestmark = pytest.mark.timeout(300)

with_the_servers = pytest.mark.asyncio(loop_scope="session")

SHOWN = ("text", "json", "ini", "yaml", "http")
"""Languages of blocks that show something and tell nobody to do anything."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Servers]:
    """Yield the servers that pages say to start."""
    servers = Servers(tmp_path_factory.mktemp("servers"))
    yield servers
    await servers.stop()


@with_the_servers
@pytest.mark.parametrize("page", [page for page in pages() if blocks(page)])
async def test_a_page_works_as_pasted(page: str, servers: Servers, tmp_path: Path) -> None:
    """Every block of it, and what it prints is what the page shows."""
    async with Reader(tmp_path, servers) as reader:
        await reader.follow(blocks(page))


@pytest.mark.parametrize("page", pages())
def test_every_block_is_run_or_says_why_not(page: str) -> None:
    """It has a language that is run or that only shows, or a comment above it with a reason."""
    for block in blocks(page):
        why = f"{block.place}: give it a language, or a comment as tests/docs/blocks.py says"
        assert block.language, why
        assert block.manner or block.language in (*RUN, *SHOWN), why
        assert block.detail or block.manner != "not run", why


@with_the_servers
async def test_a_step_that_fails_fails_the_page(servers: Servers, tmp_path: Path) -> None:
    """Not only the last one of a block."""
    block = Block("a.md", 3, "sh", "false\ntrue\n", "", "")
    async with Reader(tmp_path, servers) as reader:
        with pytest.raises(AssertionError, match=r"^a\.md:3 does not work"):
            await reader.follow([block])


@with_the_servers
async def test_blocks_share_their_shell(servers: Servers, tmp_path: Path) -> None:
    """What one sets or saves is there for the next."""
    page = [
        Block("a.md", 1, "sh", "name=1234\n", "", ""),
        Block("a.md", 3, "js", "saved\n", "save as", "file"),
        Block("a.md", 5, "sh", 'echo "$name $(cat file)"\n', "", ""),
        Block("a.md", 7, "text", "1234 saved\n", "", ""),
    ]
    async with Reader(tmp_path, servers) as reader:
        await reader.follow(page)


def test_another_output_than_the_page_shows_fails() -> None:
    """Only `…` stands for something else."""
    block = Block("a.md", 3, "text", "", "", "")
    compare('{"task_id":"x","result":"2,617"}\n', '{…"result":"2,617"}\n', block)
    with pytest.raises(AssertionError, match=r"^a\.md:3 shows"):
        compare("2,617,1\n", "2,617\n", block)
