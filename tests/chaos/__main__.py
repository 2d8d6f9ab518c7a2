"""`make chaos`: every row, a chosen few, or a random soak.

    make chaos                                  every row, each measured
    make chaos ARGS="--list"                    their names
    make chaos ARGS="--rows 'broker*' '*kill*'" those whose names match
    make chaos ARGS="--soak 30 --seed 7"        30 minutes of rows drawn at random
    make chaos ARGS="--table"                   also renew docs/reference/recovery.md

The seed is printed; the same seed draws the same rows and numbers. The exit status is 1 if a row fails.
"""

import argparse
import asyncio
import fnmatch
import logging
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path

from common import errors
from tests.chaos import row as rows
from tests.chaos import table
from tests.chaos.all_rows import ROWS
from tests.chaos.laboratory import Laboratory
from tests.chaos.row import Row


def chosen(patterns: list[str]) -> list[Row]:
    """Return the rows whose names match one of the patterns."""
    return [
        row
        for row in ROWS.values()
        if any(fnmatch.fnmatchcase(row.name, pattern) for pattern in patterns)
    ]


async def measure(picked: list[Row], *, seed: int, renew: bool) -> list[str]:
    """Run rows in one installation; a failed one gets the next a new one. Return what failed."""
    failed: list[str] = []
    waiting = list(picked)
    while waiting:
        with tempfile.TemporaryDirectory(prefix="factorline-chaos-") as folder:
            async with Laboratory(Path(folder), seed=seed) as lab:
                await lab.warm()
                while waiting:
                    row = waiting.pop(0)
                    if not await _measured(lab, row, renew=renew):
                        failed.append(row.name)
                        _keep_logs(Path(folder), row)
                        break
                else:
                    faults = (await lab.final_verdict()).faults
                    print(f"everything once more, at the end: {faults or 'right'}", flush=True)
                    failed += ["at the end"] if faults else []
    return failed


async def _measured(lab: Laboratory, row: Row, *, renew: bool) -> bool:
    print(f"{row.name} …", flush=True)
    try:
        measured = await rows.run(lab, row)
    except Exception:  # noqa: BLE001 any failure is the row's
        print(f"  FAILED\n{traceback.format_exc()}", flush=True)
        return False
    print(f"  {measured}", flush=True)
    if renew:
        table.renew(row, measured)
    return True


def _keep_logs(folder: Path, row: Row) -> None:
    kept = Path(tempfile.mkdtemp(prefix="factorline-chaos-failed-"))
    for path in (folder / "stack").rglob("*.log"):
        (kept / path.name).write_bytes(path.read_bytes())
    print(f"  logs of {row.name!r}: {kept}", flush=True)


async def soak(minutes: float, *, seed: int) -> list[str]:
    """Draw rows at random, in one installation, until the time is over or one fails."""
    chance, end = random.Random(seed), time.monotonic() + 60 * minutes
    drawn = [row for row in ROWS.values() if row.soak]
    with tempfile.TemporaryDirectory(prefix="factorline-chaos-") as folder:
        async with Laboratory(Path(folder), seed=seed) as lab:
            await lab.warm()
            while time.monotonic() < end:
                row = chance.choice(drawn)
                if not await _measured(lab, row, renew=False):
                    _keep_logs(Path(folder), row)
                    return [row.name]
            faults = (await lab.final_verdict()).faults
            print(f"everything once more, at the end: {faults or 'right'}", flush=True)
            return ["at the end"] if faults else []


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", nargs="+", default=["*"], metavar="PATTERN")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    parser.add_argument("--soak", type=float, metavar="MINUTES")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--table", action="store_true", help="renew the table in docs")
    asked = parser.parse_args()
    picked = chosen(asked.rows)
    if asked.list or not picked:
        print("\n".join(row.name for row in picked or ROWS.values()))
        sys.exit(0 if picked else f"no row matches {asked.rows}")
    logging.getLogger("common.broker").setLevel(logging.CRITICAL)  # faults are wanted here
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)
    print(f"seed {asked.seed}", flush=True)
    try:
        running = (
            soak(asked.soak, seed=asked.seed)
            if asked.soak
            else measure(picked, seed=asked.seed, renew=asked.table)
        )
        failed = asyncio.run(running)
    except errors.FactorlineError as error:
        sys.exit(f"chaos: {error}")
    sys.exit(f"failed: {', '.join(failed)} (seed {asked.seed})" if failed else 0)


if __name__ == "__main__":
    main()
