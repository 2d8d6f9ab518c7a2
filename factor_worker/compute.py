"""What runs in a child process: one piece of work in, what was learnt out."""

import resource
from typing import NamedTuple

from common.codec import BigInt
from common.units import Certainty, Curves, Piece, Prove, Survey, Whole, Work
from factor_worker.engine import coprime, ecm, effort, parts, primality, survey, verify, whole


class Result(NamedTuple):
    """What a piece of work came to; ``cpu_seconds`` includes the programs that it ran."""

    pieces: tuple[Piece, ...]
    curves: int
    cpu_seconds: float


def warm() -> None:
    """Do nothing: importing this module was the point."""


def run(work: Work) -> Result:
    """Compute, check, and return. Raises whatever the engine raises."""
    before = _cpu_seconds()
    target, curves = int(work.target), 0
    match work:
        case Survey():
            found = survey.survey(target)
        case Curves():
            found, curves = _run_curves(work)
        case Whole():
            found = whole.factor_completely(target)
        case Prove():
            certainty = primality.classify(target, prove=True)
            found = (parts.Part(target, 1, certainty),)
    if found:
        verify.verify(target, found)
    pieces = tuple(
        Piece(BigInt(part.value), part.exponent, Certainty(part.certainty)) for part in found
    )
    return Result(pieces, curves, _cpu_seconds() - before)


def _cpu_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _run_curves(work: Curves) -> tuple[parts.Decomposition, int]:
    """Return the target in pieces if a divisor was found, and how many curves ran."""
    target = int(work.target)
    sigmas = range(work.first_sigma, work.next_sigma)
    report = ecm.run(target, effort.Method(work.method), work.b1, sigmas)
    if not report.divisors:
        return (), report.curves
    whole_target = parts.Part(target, 1, parts.Certainty.COMPOSITE)
    pieces = coprime.split([whole_target], report.divisors)
    return tuple(_proven(part) for part in pieces), report.curves


def _proven(part: parts.Part) -> parts.Part:
    """Prove a small prime on the spot; a large one gets a unit of its own."""
    if part.certainty is parts.Certainty.PROBABLE:
        return whole.prime_part(part.value, part.exponent)
    return part
