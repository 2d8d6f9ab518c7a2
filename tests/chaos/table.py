"""The table of recovery times in the documentation, renewed row by row by the command that measures."""

from pathlib import Path

from tests.chaos.all_rows import ROWS
from tests.chaos.row import Measured, Row

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "recovery.md"
HEAD = """\
# Recovery from faults

`make chaos ARGS="--table"` makes this page, row by row, from what each command printed. "Fault" is how
long the fault lasted. "Recovery" is the time from its end until every accepted task, and a fresh one,
had ended and its follower had been told so. A row is entered only if nothing was lost, doubled,
unexpected, wrong or changed, and every invariant of [the laboratory](fault-laboratory.md) held.

The machine has two shared cores, which run the clients, two gateways, two workers, RabbitMQ and a
MongoDB-wire server at once. Other programs kept the cores busy, up to tenfold, while many of the rows
were measured. "test" marks the rows that `make test` runs too; there the invariants are asserted, but no
times.

"""
COLUMNS = "| fault | | fault s | recovery s | tasks | command |\n|---|---|---:|---:|---:|---|\n"
NOT_RUN = "\n## Not measured here\n\n| fault | why |\n|---|---|\n"


def read() -> dict[str, str]:
    """Return the lines of the table by the name of the row."""
    if not PAGE.exists():
        return {}
    lines = PAGE.read_text().partition("\n## Not")[0].splitlines()
    cells = [(line.split("|")[1].strip(), line) for line in lines if line.startswith("| ")]
    return {name: _marked(name, line) for name, line in cells if name in ROWS}


def _marked(name: str, line: str) -> str:
    """Return a line that says whether `make test` runs the row now."""
    cells = line.split("|")
    cells[2] = " test " if ROWS[name].short else "  "
    return "|".join(cells)


def renew(row: Row, measured: Measured) -> None:
    """Enter one row, and keep the others."""
    command = f"`make chaos ARGS=\"--rows '{row.name}'\"`"
    line = (
        f"| {row.name} | {'test' if row.short else ''} | {measured.fault_seconds:.1f} "
        f"| {measured.recovery_seconds:.1f} | {measured.accepted} | {command} |"
    )
    lines = read() | {row.name: line}
    missing = [name for name in ROWS if name not in lines]
    body = "".join(f"{lines[name]}\n" for name in ROWS if name in lines)
    PAGE.write_text(HEAD + COLUMNS + body + _missing(missing))


def _missing(names: list[str]) -> str:
    if not names:
        return ""
    return NOT_RUN + "".join(f"| {name} | {ROWS[name].not_here} |\n" for name in names)
