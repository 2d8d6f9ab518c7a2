"""Post the numbers of tests/data/workload.json to a service and check every answer against the file.

    python -m benchmarks.workload http://127.0.0.1:8080
    python -m benchmarks.workload http://127.0.0.1:8080 --digits 95 --mixed 200     all that it has to do

The exit status is 1 if any answer is wrong or missing.
"""

import argparse
import asyncio
import sys
import time

from infra.tools.workload import BALANCED_LIMIT_DIGITS, MIXED_LIMIT_DIGITS, check, numbers


def main() -> None:
    """Run the check and say how it went."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workload", description=__doc__)
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8080")
    parser.add_argument("--digits", type=int, default=BALANCED_LIMIT_DIGITS)
    parser.add_argument("--mixed", type=int, default=MIXED_LIMIT_DIGITS)
    parser.add_argument("--patience", type=float, default=900.0, help="seconds for each number")
    asked = parser.parse_args()
    chosen = numbers(asked.digits, asked.mixed)
    started = time.monotonic()
    faults = asyncio.run(check(asked.url, chosen, patience=asked.patience))
    for fault in faults:
        print(fault)
    count = len(chosen)
    print(f"{count - len(faults)} of {count} right, {time.monotonic() - started:.1f} s")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
