"""The documentation's links lead somewhere, and it can be built."""

from pathlib import Path

import pytest

from infra.tools import site

BROKEN = {
    "a link to nothing": "[x](docs/b.md)",
    "an image of nothing": "![x](docs/b.png)",
    "a folder": "[x](docs)",
    "a way out of the repository": "[x](../../etc/hostname)",
    "a heading that is not there": "[x](#another)",
    "a heading of another page that is not there": "[x](docs/a.md#title)",
    "a place in what is no page": "[x](LICENSE#title)",
}
SOUND = """# A `title`, with: punctuation

[a](docs/a.md) [b](docs/a.md#what-it-is--is_not) [c](#a-title-with-punctuation) [d](LICENSE)
<https://example.com/#x>

## Twice

## Twice

[e](#twice-1)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder with a page, a file, and a README that is to be written."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# A\n\n## What it is & is_not?\n")
    (tmp_path / "LICENSE").write_text("free")
    return tmp_path


def test_every_link_of_the_documentation_leads_somewhere() -> None:
    """And every page can be come to."""
    assert [] == site.faults(site.ROOT)


def test_sound_links_are_no_faults(root: Path) -> None:
    """Files, headings as GitHub names them, and addresses elsewhere."""
    (root / "README.md").write_text(SOUND)

    assert [] == site.faults(root)


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_broken_link_is_found(root: Path, text: str) -> None:
    """With its page and its line."""
    (root / "README.md").write_text(f"# Title\n\n[a](docs/a.md)\n\n{text}\n")

    [fault] = site.faults(root)
    assert fault.startswith("README.md:5: ")


def test_a_page_that_no_page_links_to_is_found(root: Path) -> None:
    """Nobody would find it."""
    (root / "README.md").write_text("# Title\n")

    assert ["docs/a.md: no page links to it"] == site.faults(root)


def test_the_site_has_every_page_with_working_links(tmp_path: Path) -> None:
    """What a page shows or links to is there, under its name as HTML."""
    count = site.build(site.ROOT, tmp_path / "site")
    built = {path.relative_to(tmp_path / "site") for path in (tmp_path / "site").rglob("*.html")}
    tutorial = (tmp_path / "site/docs/tutorial/first-numbers.html").read_text()

    assert count + 1 == len(built)  # one is there under two names
    assert "../../gateway/web/style.css" in tutorial
    assert (tmp_path / "site/gateway/web/style.css").is_file()
    assert (tmp_path / "site/docs/images/page.png").is_file()
    index = (tmp_path / "site/docs/README.html").read_text()
    assert 'href="reference/websocket.html"' in index
