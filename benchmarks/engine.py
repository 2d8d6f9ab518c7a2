"""How much CPU time does a factorization take, compared with FLINT, PARI or another checkout?

    python -m benchmarks.engine C50_0 C60_0 --rounds 3
    python -m benchmarks.engine --digits 24 30 36 42
    python -m benchmarks.engine C60_0 --digits 20 30 40 --rounds 3 --against ../old
    python -m benchmarks.engine C80_0 --profile

Names are those of tests/data/workload.json; the best of all rounds counts. `--digits` factors many products
of two primes of one size, and prints the mean and the slowest. Every number is factored by each rival in
turn, so that a machine which others use as well is equally slow for all. Seconds are CPU seconds of the
complete factorization, compilation left out. PARI takes part if `cypari` is installed.

`--against` compares this checkout with another one instead, each in a process of its own: the other needs a
`.venv`, which is used if it is there. `--profile` prints the microseconds that the parts of one polynomial
take, and the rate of whole units.
"""

import argparse
import importlib
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import flint
import gmpy2
import numpy as np
from numba import njit

from factor_worker.engine import whole
from factor_worker.engine.siqs import warm
from factor_worker.engine.siqs.polynomials import parameters, polynomials
from factor_worker.engine.siqs.polynomials.parameters import Parameters
from factor_worker.engine.siqs.sieve import candidates, interval, kernel, unit
from factor_worker.engine.siqs.sieve.tables import RelationBuffer, Tables, Workspace
from infra.tools import workload

ROOT = Path(__file__).parents[1]
ALL_SIZES = 1_000
"""Digits; more than any number of the file has."""
PARI_STACK_BYTES = 1 << 30
TRIES = 9
"""Measurements of each part of a polynomial, of which the best counts."""
SEMIPRIMES = 300
"""Semiprimes of each size."""
UNIT = 3
"""a's in a unit whose rate is measured ..."""
SECONDS = 10.0
"""... and how long that goes on: the best unit counts."""

Rival = Callable[[int], float]
"""Factors a number and returns the CPU seconds that it took."""


def libraries() -> dict[str, Rival]:
    """Return this engine and the libraries that factor too."""
    found = {
        "this": _timed(whole.factor_completely),
        "FLINT": _timed(lambda n: flint.fmpz(n).factor()),
    }
    try:
        pari = importlib.import_module("cypari").pari  # under the GPL, so not in the lock
    except ImportError:
        return found
    pari.allocatemem(PARI_STACK_BYTES, silent=True)
    return found | {"PARI": _timed(lambda n: pari(n).factorint())}


def _timed(factor: Callable[[int], object]) -> Rival:
    def seconds(n: int) -> float:
        started = time.process_time()
        factor(n)
        return time.process_time() - started

    return seconds


class Checkout:
    """The engine of a checkout, in a process of its own that factors one number after the other."""

    PROGRAM = """
import sys, time
from factor_worker.engine import whole
from factor_worker.engine.siqs import warm
warm.warm()
for line in sys.stdin:
    started = time.process_time()
    whole.factor_completely(int(line))
    print(time.process_time() - started, flush=True)
"""

    def __init__(self, folder: Path) -> None:
        own = folder / ".venv" / "bin" / "python"
        python = str(own) if own.exists() else sys.executable
        self._process = subprocess.Popen(  # noqa: S603 the caller's own checkouts
            [python, "-c", self.PROGRAM],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, n: int) -> float:
        """Factor a number and return the CPU seconds that it took."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the process has no pipes")
        print(n, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())


def compare(rivals: dict[str, Rival], names: list[str], rounds: int) -> None:
    """Print the best CPU seconds of each rival, and this checkout's as a multiple of them."""
    values = {number.name: number.value for number in workload.numbers(ALL_SIZES)}
    for name in names:
        seconds = _seconds(rivals, [values[name]] * rounds)
        best = {rival: min(times) for rival, times in seconds.items()}
        for rival, least in best.items():
            print(f"{name} {rival:6s} {least:9.3f} s   this is {best['this'] / least:.2f} of it")


def compare_sizes(rivals: dict[str, Rival], sizes: list[int], rounds: int) -> None:
    """Print milliseconds for semiprimes of each size, the best round of each number."""
    for digits in sizes:
        chance = random.Random(digits)
        numbers = [_semiprime(digits, chance) for _ in range(SEMIPRIMES)]
        measured = [_seconds(rivals, numbers) for _ in range(rounds)]
        best = {
            rival: [min(times) for times in zip(*(one[rival] for one in measured), strict=True)]
            for rival in rivals
        }
        this = statistics.mean(best["this"])
        for rival, times in best.items():
            mean, slowest = statistics.mean(times), max(times)
            print(
                f"{digits} digits {rival:6s} {mean * 1e3:7.2f} ms, slowest {slowest * 1e3:7.2f}"
                f"   this is {this / mean:.2f} of it"
            )


def _seconds(rivals: dict[str, Rival], numbers: list[int]) -> dict[str, list[float]]:
    """Return the CPU seconds that each rival takes for each number, taking turns."""
    seconds: dict[str, list[float]] = {rival: [] for rival in rivals}
    for n in numbers:
        for rival, factor in rivals.items():
            seconds[rival].append(factor(n))
    return seconds


def _semiprime(digits: int, chance: random.Random) -> int:
    """Return a product of two primes of equal size."""
    low, high = 10 ** ((digits - 1) / 2), 10 ** (digits / 2)
    p, q = (int(gmpy2.next_prime(chance.randrange(int(low), int(high)))) for _ in range(2))
    return p * q


@njit()
def _far(tables: Tables, work: Workspace, times: int) -> None:
    for number in range(times):
        step = work.deltas[number % len(work.deltas)]
        interval.sieve_far(tables, work, step, True)  # noqa: FBT003 kernels have no keywords


@njit()
def _middle(tables: Tables, work: Workspace, times: int) -> None:
    for _ in range(times):
        interval.sieve_middle(tables, work)


@njit()
def _near(tables: Tables, work: Workspace, times: int) -> None:
    for _ in range(times):
        work.sieve[:] = np.uint8(tables.limits.initial_byte)
        interval.sieve_near(tables, work)


@njit()
def _whole(
    tables: Tables,
    work: Workspace,
    buffer: RelationBuffer,
    examine: bool,  # noqa: FBT001
    times: int,
) -> None:
    for polynomial in range(times):
        kernel.sieve_next(tables, work, polynomial)
        buffer.counts[:] = 0
        if examine:
            candidates.examine(tables, work, buffer, polynomial)


def profile(name: str) -> None:
    """Print microseconds for each polynomial, by part."""
    n = {number.name: number.value for number in workload.numbers(ALL_SIZES)}[name]
    chosen = parameters.choose(n)
    siever = unit.Siever(n, chosen)
    family = polynomials.family(n, chosen, 1)
    tables, work, buffer = siever.tables, siever.work, siever.buffer
    size = family.size

    def whole(*, examine: bool) -> float:
        return _least(
            lambda: siever.start(family), lambda: _whole(tables, work, buffer, examine, size)
        )

    def part(compiled: Callable[[Tables, Workspace, int], None]) -> float:
        return _least(lambda: siever.start(family), lambda: compiled(tables, work, size))

    without = whole(examine=False)
    parts = {
        "initialisation": _least(lambda: None, lambda: siever.start(family)),
        "far primes": part(_far),
        "middle primes": part(_middle),
        "near primes and scan": part(_near),
        "all of the sieve": without,
        "candidates": whole(examine=True) - without,
    }
    print(f"{name}: {chosen}")
    for label, seconds in parts.items():
        print(f"{label:26s} {seconds / size * 1e6:8.1f}")
    _rate(n, chosen)


def _rate(n: int, chosen: Parameters) -> None:
    """Print what whole units give: sieved, verified, compressed."""
    fastest, spent, first = 0.0, 0.0, 0
    while spent < SECONDS:
        started = time.thread_time()
        batch = unit.sieve(n, chosen, first, UNIT)
        taken = time.thread_time() - started
        fastest = max(fastest, (batch.full + batch.partial) / taken)
        spent, first = spent + taken, first + UNIT
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{fastest:.0f} relations a second, peak memory {megabytes} MB")


def _least(prepare: Callable[[], None], part: Callable[[], None]) -> float:
    """Return the seconds of a part, in the quietest of several tries."""
    least = float("inf")
    for _ in range(TRIES):
        prepare()
        started = time.perf_counter()
        part()
        least = min(least, time.perf_counter() - started)
    return least


def main() -> None:
    """Compare, or profile."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engine",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", help="numbers of the file, such as C60_0")
    parser.add_argument("--rounds", type=int, default=1, help="of which the best counts")
    parser.add_argument("--profile", action="store_true", help="the parts of one polynomial")
    parser.add_argument("--digits", type=int, nargs="+", default=[], help="sizes of semiprimes")
    parser.add_argument("--against", type=Path, help="another checkout to measure in turns")
    options = parser.parse_args()
    if options.profile:
        warm.warm()
        for name in options.names:
            profile(name)
        return
    if options.against:
        rivals: dict[str, Rival] = {
            "this": Checkout(ROOT),
            "other": Checkout(options.against.resolve()),
        }
    else:
        warm.warm()
        rivals = libraries()
    compare_sizes(rivals, options.digits, options.rounds)
    compare(rivals, options.names, options.rounds)


if __name__ == "__main__":
    main()
