"""What runs in a child process: a piece of work goes in, and what was learnt comes out.

The sieve's kernels are imported where they are used: numba takes a third of a second and 115 MB, and a
worker's own process, which imports this module too, has no use for it.
"""

import resource
from collections.abc import Callable, Iterable, Sequence

import msgspec
from msgspec.structs import replace

from common.domain import (
    BigInt,
    Certainty,
    Counted,
    Curves,
    Piece,
    Prove,
    RelationBatch,
    Sieve,
    Sieved,
    Solve,
    Solving,
    Survey,
    Whole,
    Work,
)
from common.runtime import failpoints
from factor_worker.engine import coprime, parts, primality, survey, verify, whole
from factor_worker.engine.curves import ecm, effort
from factor_worker.engine.siqs.polynomials import parameters as siqs

SIEVE_SECONDS = 60.0
"""A sieve unit that a slow machine has not finished within this time returns what it has."""


class Result(msgspec.Struct, frozen=True, tag="result"):
    """What came of a piece of work; ``cpu_seconds`` includes the programs that it ran."""

    pieces: tuple[Piece, ...] = ()
    curves: int = 0
    sieved: Sieved | None = None
    batch: RelationBatch | None = None
    counted: Counted | None = None
    cpu_seconds: float = 0.0


StoredBatches = Sequence[tuple[str, bytes]]
"""The stored relations of a sieve: (unit id, packed batch)."""

CALIBRATION = (10**22 + 9) * (10**21 + 117)
"""A composite of 44 digits, which is factored to measure the machine."""
CALIBRATION_SECONDS = 0.1
"""CPU seconds that it takes on the reference machine, where the estimates were measured."""


def measure_slowness() -> float:
    """Return how many CPU seconds this machine takes for one CPU second of the reference machine."""
    from factor_worker.engine.siqs import complete  # noqa: PLC0415 see above

    before = cpu_seconds()
    complete.factor(CALIBRATION)
    return (cpu_seconds() - before) / CALIBRATION_SECONDS


def perform(
    work: Work,
    batches: StoredBatches = (),
    report: Callable[[Solving], None] = lambda _solving: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Result:
    """Compute a piece of work, verify what was found, and return it. Raises whatever the engine raises.

    Args:
        work: What to do.
        batches: The stored relations, for `Solve`.
        report: Called now and then with the progress of `Solve`.
        stopped: Asked now and then during `Sieve`, which ends with what it has once this returns True.

    """
    before = cpu_seconds()
    match work:
        case Sieve():
            result = _sieve(work, stopped)
        case Solve():
            result = _solve(work, batches, report)
        case _:
            result = _decompose(work)
    return replace(result, cpu_seconds=cpu_seconds() - before)


def _decompose(work: Work) -> Result:
    target, curves = int(work.target), 0
    found: parts.Decomposition = ()
    match work:
        case Survey():
            found = survey.survey(target)
        case Curves():
            found, curves = _curves(work)
        case Whole():
            found = whole.factor_completely(target)
        case Prove():
            certainty = primality.classify(target, prove=True)
            found = (parts.Part(target, 1, certainty),)
    if failpoints.hit("engine.answer", target):
        found = found[:-1]
    return Result(pieces=_verified(target, found), curves=curves)


def _sieve(work: Sieve, stopped: Callable[[], bool]) -> Result:
    from factor_worker.engine.siqs.sieve import unit  # noqa: PLC0415 see above

    chosen = siqs.Parameters.from_dict(work.parameters)
    found = unit.sieve(
        int(work.target), chosen, work.first, work.count, seconds=SIEVE_SECONDS, stopped=stopped
    )
    return Result(
        sieved=Sieved(found.done, found.full, found.partial),
        batch=RelationBatch(work.first, found.done, found.data),
    )


def _solve(work: Solve, batches: StoredBatches, report: Callable[[Solving], None]) -> Result:
    from factor_worker.engine.siqs.solve import solve  # noqa: PLC0415 see above

    target, chosen = int(work.target), siqs.Parameters.from_dict(work.parameters)
    stored = (
        solve.StoredBatch(unit_id, *RelationBatch.unpack(packed)) for unit_id, packed in batches
    )
    solved = solve.solve(target, chosen, stored, report=lambda progress: report(Solving(*progress)))
    if not solved.divisors:
        return Result(counted=Counted(solved.usable, solved.needed, solved.bad))
    return Result(pieces=_verified(target, _split(target, solved.divisors)))


def _verified(target: int, found: parts.Decomposition) -> tuple[Piece, ...]:
    if found:
        verify.verify(target, found)
    return tuple(
        Piece(BigInt(part.value), part.exponent, Certainty(part.certainty)) for part in found
    )


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of the programs that it has run."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _curves(work: Curves) -> tuple[parts.Decomposition, int]:
    """Return the target in pieces if a divisor was found, and how many curves ran."""
    target = int(work.target)
    sigmas = range(work.first_sigma, work.next_sigma)
    report = ecm.run_batch(target, effort.Method(work.method), work.b1, sigmas)
    if not report.divisors:
        return (), report.curves
    return _split(target, report.divisors), report.curves


def _split(target: int, divisors: Iterable[int]) -> parts.Decomposition:
    """Return a composite taken apart by some of its divisors."""
    whole_target = parts.Part(target, 1, parts.Certainty.COMPOSITE)
    return tuple(_proven(part) for part in coprime.split([whole_target], divisors))


def _proven(part: parts.Part) -> parts.Part:
    """Prove a small prime on the spot; a large one gets a unit of its own."""
    if part.certainty is parts.Certainty.PROBABLE:
        return whole.prime_part(part.value, part.exponent)
    return part
