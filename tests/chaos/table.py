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
ATTACKS = """
## Attacks

`/healthz` is asked twenty times a second while the attack lasts, and the memory is that of the gateway which
is attacked. Numbers were asked for and answered meanwhile, and the invariants above held.

| attack | healthz at worst s | memory before, during, after, MiB | command |
|---|---:|---|---|
"""
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
    if ROWS[name].attack:
        return line
    cells[2] = " test " if ROWS[name].short else "  "
    return "|".join(cells)


def renew(row: Row, measured: Measured) -> None:
    """Enter one row, and keep the others."""
    command = f"`make chaos ARGS=\"--rows '{row.name}'\"`"
    line = (
        f"| {row.name} | {'test' if row.short else ''} | {measured.fault_seconds:.1f} "
        f"| {measured.recovery_seconds:.1f} | {measured.accepted} | {command} |"
    )
    if measured.pressure is not None:
        felt = measured.pressure
        sizes = ", ".join(str(size >> 20) for size in (felt.before, felt.during, felt.after))
        line = f"| {row.name} | {felt.healthz:.2f} | {sizes} | {command} |"
    lines = read() | {row.name: line}
    missing = [name for name in ROWS if name not in lines]
    faults, attacks = (
        "".join(
            f"{lines[name]}\n" for name, row in ROWS.items() if name in lines and row.attack == kind
        )
        for kind in (False, True)
    )
    attacks = ATTACKS + attacks if attacks else ""
    PAGE.write_text(HEAD + COLUMNS + faults + attacks + _missing(missing))


def _missing(names: list[str]) -> str:
    if not names:
        return ""
    return NOT_RUN + "".join(f"| {name} | {ROWS[name].not_here} |\n" for name in names)
