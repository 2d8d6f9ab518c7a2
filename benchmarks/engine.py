"""Compare the quadratic sieve with FLINT and PARI on numbers of tests/data/workload.json.

    python -m benchmarks.engine C50_0 C60_0 --rounds 3
    python -m benchmarks.engine C80_0 --profile
    python -m benchmarks.engine --digits 24 30 36 42

Every round factors each number once with each of them in turn, so that a machine that others use as
well is equally slow for all; the best round of each counts. Seconds are CPU seconds of the complete
factorization, compilation left out. PARI takes part if `cypari` is installed. `--profile` instead
prints the microseconds that the parts of one polynomial take, and the rate of whole units. `--digits`
compares the complete factorization of many products of two primes of one size, the average and the slowest.
"""

import argparse
import importlib
import random
import resource
import statistics
import time
from collections.abc import Callable

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

ALL_SIZES = 1_000
"""Digits; more than any number of the file has."""
PARI_STACK_BYTES = 1 << 30
TRIES = 9
SEMIPRIMES = 300
"""Of each size."""
UNIT = 3
"""a's in a unit whose rate is measured ..."""
SECONDS = 10.0
"""... and how long that goes on: the best unit counts."""


def rivals() -> dict[str, Callable[[int], object]]:
    """Return who factors, ours first."""
    found: dict[str, Callable[[int], object]] = {
        "ours": whole.factor_completely,
        "FLINT": lambda n: flint.fmpz(n).factor(),
    }
    try:
        pari = importlib.import_module("cypari").pari  # under the GPL, so not in the lock
    except ImportError:
        return found
    pari.allocatemem(PARI_STACK_BYTES, silent=True)
    return found | {"PARI": lambda n: pari(n).factorint()}


def compare(names: list[str], rounds: int) -> None:
    """Print the best CPU seconds of each, and ours as a multiple of the others'."""
    values = {number.name: number.value for number in workload.numbers(ALL_SIZES)}
    factoring = rivals()
    for name in names:
        seconds = _seconds(factoring, [values[name]] * rounds)
        best = {rival: min(times) for rival, times in seconds.items()}
        for rival, least in best.items():
            print(f"{name} {rival:6s} {least:9.3f} s   ours is {best['ours'] / least:.2f} of it")


def compare_sizes(sizes: list[int]) -> None:
    """Print milliseconds for semiprimes of each size, by whoever factors them."""
    factoring = rivals()
    for digits in sizes:
        chance = random.Random(digits)
        seconds = _seconds(factoring, [_semiprime(digits, chance) for _ in range(SEMIPRIMES)])
        ours = statistics.mean(seconds["ours"])
        for rival, times in seconds.items():
            mean, most = statistics.mean(times), max(times)
            print(
                f"{digits} digits {rival:6s} {mean * 1e3:7.2f} ms, slowest {most * 1e3:7.2f}"
                f"   ours is {ours / mean:.2f} of it"
            )


def _seconds(
    factoring: dict[str, Callable[[int], object]], numbers: list[int]
) -> dict[str, list[float]]:
    """Return the CPU seconds that each takes for each number, taking turns."""
    seconds: dict[str, list[float]] = {rival: [] for rival in factoring}
    for n in numbers:
        for rival, factor in factoring.items():
            started = time.process_time()
            factor(n)
            seconds[rival].append(time.process_time() - started)
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
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__)
    parser.add_argument("names", nargs="*", help="numbers of the file, such as C60_0")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--digits", type=int, nargs="+", default=[], help="sizes of semiprimes")
    asked = parser.parse_args()
    warm.warm()
    compare_sizes(asked.digits)
    if asked.profile:
        for name in asked.names:
            profile(name)
    else:
        compare(asked.names, asked.rounds)


if __name__ == "__main__":
    main()
