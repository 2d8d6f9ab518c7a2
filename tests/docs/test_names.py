"""What the documentation names exists: settings, metrics, files, verbs, problems; and its figures agree."""

import importlib.util
import re
from pathlib import Path

import pytest
from msgspec.structs import fields
from prometheus_client import Counter

from common.domain.tasks import SHORT_DIGITS
from common.runtime.settings import Settings
from factor_worker import metrics
from factor_worker.engine import siqs
from factor_worker.engine.siqs.tiny import tiny
from factor_worker.plan import policy
from gateway.views.problems import KINDS
from gateway.websocket.close_codes import CloseCode
from infra.local.programs import ROOT
from tests.docs.blocks import blocks

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")]
PAGES = [page for page in PAGES if DOCS / "notes" not in page.parents]
"""Notes describe the program of their day and are never rewritten; of today's pages all must hold."""

SOURCES = ("common", "factor_worker", "factorline", "gateway", "infra", "tests", "benchmarks")
MEASUREMENTS = DOCS / "reference" / "measurements.md"
OPERATE = DOCS / "how-to" / "operate.md"


def named(pattern: str, pages: list[Path] | None = None) -> set[tuple[str, str]]:
    """Return what a pattern finds in pages, each with the page that names it."""
    return {
        (page.relative_to(ROOT).as_posix(), name)
        for page in pages or PAGES
        for name in re.findall(pattern, page.read_text())
    }


def section(page: Path, heading: str) -> str:
    """Return the text under a heading, up to the next one."""
    return page.read_text().partition(f"# {heading}\n")[2].partition("\n#")[0]


def figure(question: str) -> str:
    """Return the figure that the page of measurements gives for a question."""
    [row] = [
        line for line in MEASUREMENTS.read_text().splitlines() if line.startswith(f"| {question}")
    ]
    return row.split(" | ")[2]


def test_settings_exist() -> None:
    """Each is a field of the settings, or read by something that is not made of them."""
    known = {f"FACTORLINE_{field.name.upper()}" for field in fields(Settings)}
    sources = "".join(
        path.read_text(errors="replace")
        for folder in ("factorline", "infra", "tests", "common/runtime")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".sh", ".cfg"} and path != Path(__file__)
    )
    known |= set(re.findall(r"FACTORLINE_[A-Z0-9_]+", sources))

    assert set() == {one for one in named(r"\bFACTORLINE_[A-Z0-9_]+\b") if one[1] not in known}


def test_metrics_exist() -> None:
    """By the page that is made from the programs, which a test of its own holds to them."""
    known = set(
        re.findall(r"^\| `(\w+)`", (DOCS / "reference/metrics.md").read_text(), re.MULTILINE)
    )

    assert set() == {one for one in named(r"`(factorline_[a-z_]+)`") if one[1] not in known}


@pytest.mark.parametrize(
    ("alert", "counter"),
    [
        ("DeadLetters", metrics.DEAD_LETTERS),
        ("ChildrenDie", metrics.CHILDREN_DIED),
        ("SievesOffCourse", metrics.SIEVES_OFF_COURSE),
        ("SweepsMendALot", metrics.SWEPT),
    ],
)
def test_an_alert_explains_every_value_of_its_label(alert: str, counter: Counter) -> None:
    """And no other one: each stands in backticks before its explanation."""
    [family] = counter.collect()
    values = {value for sample in family.samples for value in sample.labels.values()}

    assert values == set(re.findall(r"`([\w ]+)`:", section(OPERATE, alert)))


def test_files_exist() -> None:
    """Paths from the root of the repository, and modules by their name alone."""
    saved = {block.detail for page in PAGES for block in blocks(str(page)) if block.detail}
    folders = "|".join(SOURCES)
    wrong = {
        one
        for one in named(rf"`((?:{folders})/[\w./-]*\w/?)")
        if not (ROOT / one[1].partition("::")[0]).exists()
    }
    names = {path.name for folder in SOURCES for path in (ROOT / folder).rglob("*.*")}
    wrong |= {
        one
        for one in named(r"`([\w-]+\.(?:py|js|json|cfg|sh|yml))`")
        if one[1] not in names | saved
    }

    assert set() == {one for one in wrong if not (ROOT / one[1]).exists()}


def test_verbs_of_the_makefile_exist() -> None:
    """`make` with a word that is no target would stop a reader."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set() == {one for one in named(r"(?:`|^)make ([a-z]+)") if one[1] not in targets}


def test_modules_that_are_run_exist() -> None:
    """`python -m NAME`, ours and those of the locked packages."""
    named_ones = {module for _, module in named(r"python -m ([\w.]+\w)")}

    assert set() == {module for module in named_ones if importlib.util.find_spec(module) is None}


def test_problems_exist_with_their_status() -> None:
    """As in "401 `unauthenticated`"."""
    known = {f"{kind.status} `{kind.name}`" for kind in KINDS.values()}

    assert set() == {one for one in named(r"\b[45]\d\d `[a-z-]+`") if one[1] not in known}


def test_close_codes_exist() -> None:
    """Whoever gets one looks it up here."""
    codes = {str(int(code)) for code in CloseCode}
    page = (DOCS / "reference" / "websocket.md").read_text()

    assert codes <= set(re.findall(r"\d{4}", page))
    assert set() == {one for one in named(r"\b4[0-2]\d\d\b", [OPERATE]) if one[1] not in codes}


def test_sizes_are_those_of_the_code() -> None:
    """The limits that decide what happens to a number."""
    page = (DOCS / "explanation" / "architecture.md").read_text()
    smallest, largest = len(str(2**tiny.SMALLEST_BITS)), len(str(2**tiny.LARGEST_BITS)) - 1
    sizes = {
        "the tiny sieve": largest,
        "whole": policy.WHOLE_LIMIT_DIGITS,
        "sieve": policy.SIEVE_LIMIT_DIGITS,
        "proofs": policy.PROOF_LIMIT_DIGITS,
        "short numbers": SHORT_DIGITS,
    }

    assert {} == {what: size for what, size in sizes.items() if f"{size} digits" not in page}
    assert f"{smallest} to {largest} digits" in str(tiny.__doc__)
    assert f"{smallest} to {policy.SIEVE_LIMIT_DIGITS} digits" in str(siqs.__doc__)


def test_every_measurement_has_a_command_a_machine_and_a_date() -> None:
    """One table, and the newest figure only: no question stands there twice."""
    text = MEASUREMENTS.read_text()
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    measured = [
        row for row in rows if len(row) == len(("question", "command", "figure", "machine", "date"))
    ]
    machines = {row[0] for row in rows if len(row) == len(("machine", "what"))}
    body = measured[2:] if measured[1][0].startswith("-") else measured[1:]

    assert len(body) > 20
    assert len({row[0] for row in body}) == len(body)
    for question, command, said, machine, date in body:
        assert re.search(r"python -m |make |\.venv/bin/", command), question
        assert re.search(r"\d", said), question
        assert machine in machines, question
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", date), question


def test_the_dependencies_are_those_of_the_lock() -> None:
    """`make licences` has been run since the lock changed."""
    lock = (ROOT / "requirements-dev.lock").read_text()
    locked = re.findall(r"^([\w.-]+)==(\S+) \\$", lock, re.MULTILINE)  # those without a condition
    page = (DOCS / "reference" / "dependencies.md").read_text()
    rows = re.findall(r"^\| ([\w.-]+) \| (\S+) \|", page, re.MULTILINE)
    listed = {(re.sub(r"[._]", "-", name.lower()), version) for name, version in rows}

    assert len(locked) > 100
    assert set() == {(re.sub(r"[._]", "-", name), version) for name, version in locked} - listed


def test_a_figure_that_two_pages_give_is_the_same() -> None:
    """The memory of a socket, and the cost of a kill."""
    [(_, socket)] = named(r"\((\d+ KiB) each\)", [OPERATE])
    [(_, kill)] = named(r"cost[^.]*?(\d\.\d+ times)", [DOCS / "explanation" / "bounded-units.md"])

    assert socket in figure("Memory of an idle WebSocket")
    assert kill in figure("A worker killed every 10 s")


def test_every_note_is_in_the_index_with_its_date() -> None:
    """Newest first."""
    index = (DOCS / "notes" / "README.md").read_text()
    lines = re.findall(r"^\| ([\d-]+) \| \[.*\]\((.*)\) \|$", index, re.MULTILINE)

    assert lines == sorted(lines, key=lambda line: line[0], reverse=True)
    assert {name for _, name in lines} == {page.name for page in (DOCS / "notes").glob("2*.md")}
    assert all(name.startswith(date) for date, name in lines)


def test_the_changelog_begins_with_what_is_not_released() -> None:
    """Then the releases, each with its number and its date."""
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert headings[0] == "Unreleased"
    assert len(headings) > 1
    assert all(
        re.fullmatch(r"\d+\.\d+\.\d+ - \d{4}-\d\d-\d\d", heading) for heading in headings[1:]
    )
