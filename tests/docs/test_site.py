"""The documentation builds as a site, and a broken link fails the build."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local.programs import ROOT

BROKEN = {
    "a link to nothing": ("[x](../how-to/nothing.md)", "nothing.md"),
    "an image of nothing": ("![x](../images/nothing.png)", "nothing.png"),
    "a folder": ("[x](../images)", "'../images'"),
    "a heading that is not there": ("[x](#not-here)", "not-here"),
    "a heading of another page that is not there": ("[x](../how-to/run.md#not-there)", "not-there"),
}


def build(source: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Build a copy of the documentation as `make site` does."""
    command = f"{sys.executable} -m sphinx --fail-on-warning --quiet -c {source}/docs".split()
    command += ["-d", f"{site}-doctrees", str(source), str(site)]
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 ours


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a folder with all pages and the folders that they link into, to be spoilt."""
    root = tmp_path / "source"
    root.mkdir()
    shutil.copytree(ROOT / "docs", root / "docs")
    (root / "tests" / "browser").mkdir(parents=True)
    shutil.copytree(ROOT / "tests/browser/vendor", root / "tests/browser/vendor")
    for folder in ("common", "factor_worker", "gateway", "infra"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (*ROOT.glob("*.md"), ROOT / "LICENSE"):
        shutil.copy(path, root)
    return root


def test_the_site_has_every_page(tmp_path: Path) -> None:
    """Each where its Markdown is, with search, and without anything from another host."""
    built = build(ROOT, tmp_path / "site")

    assert (0, "") == (built.returncode, built.stderr)
    pages = {path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md")}
    assert {page.with_suffix(".html") for page in pages} <= {
        path.relative_to(tmp_path / "site") for path in (tmp_path / "site").rglob("*.html")
    }
    first = (tmp_path / "site" / "index.html").read_text()
    assert 'href="docs/how-to/use-the-command.html"' in first
    assert 'src="http' not in first
    assert (tmp_path / "site" / "search.html").is_file()


def test_every_broken_link_fails_the_build(source: Path, tmp_path: Path) -> None:
    """And so does a page that the navigation does not know; each is named."""
    page = source / "docs" / "tutorial" / "first-numbers.md"
    links = "\n\n".join(link for link, _ in BROKEN.values())
    page.write_text(f"{page.read_text()}\n\n{links}\n")
    (source / "docs" / "how-to" / "forgotten.md").write_text("# Forgotten\n")

    built = build(source, tmp_path / "site")

    assert built.returncode == 1
    missed = {why for why, (_, named) in BROKEN.items() if named not in built.stderr}
    assert set() == missed
    assert "forgotten.md" in built.stderr
    assert len(BROKEN) + 1 == len(built.stderr.strip().splitlines()), built.stderr
