"""Does a running service factor the numbers of tests/data/workload.json correctly, and how long does it take?

    python -m benchmarks.workload http://127.0.0.1:8080
    python -m benchmarks.workload http://127.0.0.1:8080 --digits 95 --mixed 200     all that it has to factor

The numbers are submitted all at once. The exit status is 1 if any answer is wrong or missing.
"""

import argparse
import asyncio
import sys
import time

from infra.tools.workload import BALANCED_LIMIT_DIGITS, MIXED_LIMIT_DIGITS, check, numbers


def main() -> None:
    """Run the check and print its result."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.workload",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8080")
    parser.add_argument(
        "--digits", type=int, default=BALANCED_LIMIT_DIGITS, help="largest number of any kind"
    )
    parser.add_argument(
        "--mixed",
        type=int,
        default=MIXED_LIMIT_DIGITS,
        help="largest number that is mostly work for curves",
    )
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds for each number")
    options = parser.parse_args()
    chosen = numbers(options.digits, options.mixed)
    started = time.monotonic()
    problems = asyncio.run(check(options.url, chosen, timeout_s=options.timeout))
    for problem in problems:
        print(problem)
    count = len(chosen)
    print(f"{count - len(problems)} of {count} correct, {time.monotonic() - started:.1f} s")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
