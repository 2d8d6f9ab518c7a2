"""How long does each stage of the quadratic sieve take, for a number of tests/data/workload.json?

    python -m benchmarks.sieve C60_0
    python -m benchmarks.sieve C80_0 --relations /tmp/C80_0.relations

With `--relations` the relations are written to that file, and read from it the next time, so that what
follows the sieve can be timed alone. Seconds are CPU seconds of this process, compilation left out.
"""

import argparse
import resource
import time
from collections.abc import Iterator
from pathlib import Path

from factor_worker.engine.siqs import complete, warm
from factor_worker.engine.siqs.polynomials import parameters
from factor_worker.engine.siqs.polynomials.parameters import Parameters
from factor_worker.engine.siqs.solve import solve
from factor_worker.engine.siqs.solve.harvest import Harvest
from factor_worker.engine.siqs.solve.solve import Progress, StoredBatch
from infra.tools import workload

ALL_SIZES = 1_000
"""Digits; more than any number of the file has."""


class Stages:
    """CPU seconds of each stage, from its first report to that of the next stage."""

    def __init__(self) -> None:
        self._began: list[tuple[str, float]] = []

    def __call__(self, progress: Progress) -> None:
        """Note when a stage begins."""
        if not self._began or self._began[-1][0] != progress.stage:
            self.begin(progress.stage)

    def begin(self, stage: str) -> None:
        """Note that a stage begins now."""
        self._began.append((stage, time.process_time()))

    def seconds(self) -> Iterator[tuple[str, float]]:
        """Return each stage with its seconds, the last one until now."""
        ends = [began for _, began in self._began[1:]] + [time.process_time()]
        for (stage, began), end in zip(self._began, ends, strict=True):
            yield stage, end - began


def sieved(n: int, chosen: Parameters) -> Iterator[StoredBatch]:
    """Sieve until the relations suffice."""
    harvest = Harvest(n, chosen)
    for batch in complete.batches(harvest, chosen):
        yield batch
        usable, needed, _ = harvest.state()
        if usable >= needed:
            return


def kept(path: Path) -> Iterator[StoredBatch]:
    """Read batches, one to a line."""
    for line in path.read_text().splitlines():
        unit_id, first, count, data = line.split(" ")
        yield StoredBatch(unit_id, int(first), int(count), bytes.fromhex(data))


def keep(path: Path, batches: list[StoredBatch]) -> None:
    """Write batches, one to a line."""
    path.write_text(
        "".join(f"{one.unit_id} {one.first} {one.count} {one.data.hex()}\n" for one in batches)
    )


def main() -> None:
    """Sieve, or read what was sieved, solve, and print what each stage took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="a number of the file, such as C60_0")
    parser.add_argument("--relations", type=Path, help="keep the relations here, or read them")
    arguments = parser.parse_args()
    numbers = {number.name: number.value for number in workload.numbers(ALL_SIZES)}
    n = numbers[arguments.name]
    chosen = parameters.choose(n)
    warm.warm()
    stages = Stages()
    if arguments.relations and arguments.relations.exists():
        batches = list(kept(arguments.relations))
    else:
        stages.begin("sieve")
        batches = list(sieved(n, chosen))
        if arguments.relations:
            keep(arguments.relations, batches)
    stages.begin("verify")
    solved = solve.solve(n, chosen, batches, report=stages)
    print(f"{arguments.name}: {chosen}")
    print(f"{solved.usable} usable of {solved.needed} needed, {solved.divisors}")
    for stage, seconds in stages.seconds():
        print(f"{stage:12} {seconds:9.2f} s")
    print(f"{'peak memory':12} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024:9} MB")


if __name__ == "__main__":
    main()
