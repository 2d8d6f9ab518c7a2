"""Turns tasks and factorizations into the models that clients see, over HTTP and WebSocket alike."""

import math
import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from common.domain import (
    BigInt,
    Certainty,
    Factorization,
    Part,
    SieveState,
    Status,
    Task,
    estimates,
)
from gateway.views import models

CALCULATING = "Calculating..."
CPU_USED_UP = "cpu-used-up"
_MINUS_ONE = models.Factor(prime="-1", exponent=1, certainty="unit")


def version_of(task: Task, known: Factorization | None) -> int:
    """Return a number that grows whenever the representation of a task changes."""
    ended = task.ended is not None
    return 2 * (known.version + known.taken_in) + ended if known else 1 + ended


class _Shared(NamedTuple):
    """What the representations of all tasks for one number have in common."""

    number: str
    factors: list[models.Factor]
    composites: list[models.Composite]
    progress: models.Progress
    result: str


class Views:
    """The representations of the tasks of one factorization, whose common parts are built only once.

    views = Views(known)
    shown = [views.of(task) for task in tasks]
    """

    def __init__(self, known: Factorization | None) -> None:
        self.known = known
        self._shared: dict[bool, _Shared] = {}
        """By whether the number is negative."""

    def of(self, task: Task) -> models.TaskView:
        """Return the representation of one of its tasks, as read together with the factorization."""
        shared = self._shared.get(task.number < 0)
        if shared is None:
            shared = self._shared[task.number < 0] = _share(task.number, self.known)
        status = _status(task, self.known)
        return models.TaskView(
            task_id=task.task_id,
            number=shared.number,
            expression=task.expression,
            status=status,
            done=status.done,
            result=shared.result if status is Status.SUCCEEDED else None,
            factors=shared.factors,
            composites=shared.composites,
            progress=shared.progress,
            reason=task.ended.reason if task.ended else None,
            waiting=_waiting(task, self.known),
            version=version_of(task, self.known),
            created_at=rfc3339(task.created_at),
            ended_at=rfc3339(task.ended.at) if task.ended else None,
            links=models.TaskLinks(
                self_=f"/tasks/{task.task_id}",
                number=f"/numbers/{shared.number}",
                legacy=f"/get/{task.task_id}",
            ),
        )


def _waiting(task: Task, known: Factorization | None) -> models.Waiting | None:
    """Return why a task waits: the CPU seconds of those who want its number are used up."""
    if task.ended is not None:
        return None
    if task.rests_until is not None:
        until, what = task.rests_until, "The task begins"
    elif known is not None and known.rests_until is not None and not known.outstanding:
        until, what = known.rests_until, "The task goes on"
    else:
        return None
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(until))
    detail = f"Today's CPU seconds are used up. {what} by itself after {when}."
    return models.Waiting(why=CPU_USED_UP, detail=detail, until=rfc3339(until))


def view(task: Task, known: Factorization | None) -> models.TaskView:
    """Return the representation of a task, in the state that `Lifecycle.read_current` returned."""
    return Views(known).of(task)


def _share(number: int, known: Factorization | None) -> _Shared:
    factors, composites = _split(number, known)
    return _Shared(
        number=str(int(number)),
        factors=factors,
        composites=composites,
        progress=_progress(number, known),
        result=_result(number, known),
    )


def legacy(task: Task, known: Factorization | None) -> models.Legacy:
    """Return the answer of ``GET /get/{task_id}`` (see `models.Legacy`)."""
    if task.ended is None:
        return models.Legacy(result=CALCULATING)
    status = task.ended.status
    if status is Status.SUCCEEDED:
        return models.Legacy(result=_result(task.number, known))
    if status is Status.PARTIAL:
        return models.Legacy(result=f"Partial: {_result(task.number, known)}")
    return models.Legacy(result=f"{status.capitalize()}: {task.ended.reason or 'no reason given'}")


def number_view(number: int, known: Factorization | None) -> models.NumberView:
    """Return what is known about a number; `known` is the factorization of its absolute value."""
    factors, composites = _split(number, known)
    return models.NumberView(
        number=str(int(number)),
        status=_factordb_status(number, known),
        factors=factors,
        composites=composites,
        digits=len(str(abs(int(number)))),
        progress=_progress(number, known),
        version=known.version + known.taken_in if known else 0,
        links=models.NumberLinks(self_=f"/numbers/{int(number)}"),
    )


def _status(task: Task, known: Factorization | None) -> Status:
    if task.ended is not None:
        return task.ended.status
    return Status.RUNNING if known is not None and known.version > 1 else Status.QUEUED


def _ordered(known: Factorization | None) -> list[Part]:
    return sorted(known.parts, key=lambda part: part.value) if known else []


def _split(
    number: int, known: Factorization | None
) -> tuple[list[models.Factor], list[models.Composite]]:
    """Return the prime factors, and the composites that are not split yet, both ascending."""
    parts = _ordered(known)
    factors = [_MINUS_ONE] if number < 0 else []
    factors += [
        models.Factor(
            prime=str(int(part.value)), exponent=part.exponent, certainty=part.certainty.value
        )
        for part in parts
        if part.certainty.prime
    ]
    composites = [
        models.Composite(
            value=str(int(part.value)),
            exponent=part.exponent,
            digits=part.digits,
            certainty=part.certainty.value,
        )
        for part in parts
        if not part.certainty.prime
    ]
    return factors, composites


def _result(number: int, known: Factorization | None) -> str:
    """Return the factors with multiplicity, primes first; a composite reads ``C(91)``."""
    if abs(number) < 2:  # noqa: PLR2004 0, 1 and -1 are their own answers
        return str(int(number))
    primes = [part for part in _ordered(known) if part.certainty.prime]
    others = [part for part in _ordered(known) if not part.certainty.prime]
    words = ["-1"] if number < 0 else []
    words += _repeated((str(int(part.value)), part.exponent) for part in primes)
    words += _repeated((f"C({int(part.value)})", part.exponent) for part in others)
    return ",".join(words)


def _repeated(words: Iterable[tuple[str, int]]) -> list[str]:
    return [word for word, times in words for _ in range(times)]


def _progress(number: int, known: Factorization | None) -> models.Progress:
    if abs(number) < 2:  # noqa: PLR2004 0, 1 and -1 are their own answers
        return models.Progress(stage="done", fraction=1.0)
    if known is None:
        estimate = estimates.cpu_seconds(len(str(abs(int(number)))))
        return models.Progress(stage="queued", fraction=0.0, estimate_cpu_seconds=estimate)
    settled = known.issued - len(known.outstanding)
    elapsed = known.touched_at - known.created_at
    hardest = max(known.parts, key=lambda part: (not part.certainty.prime, part.value))
    return models.Progress(
        stage=_stage(known),
        fraction=_fraction(known),
        rate=round(settled / elapsed, 3) if settled > 0 and elapsed > 0 else None,
        eta_seconds=_eta(known, hardest),
        units_issued=known.issued,
        units_outstanding=len(known.outstanding),
        cpu_seconds=round(known.cpu_seconds, 3),
        estimate_cpu_seconds=_estimate(known, hardest),
        workers=len(known.workers) if known.active else 0,
        effort=hardest.effort.curves,
        curves=_curves(hardest),
        sieve=_sieve(hardest, known.touched_at),
        matrix=_matrix(known),
    )


def _stage(known: Factorization) -> str:
    if known.ended is not None:
        return "done"
    if known.version == 1:
        return "queued"
    kinds = Counter(entry.unit.kind for entry in known.outstanding.values())
    kind = kinds.most_common(1)[0][0] if kinds else "resting"
    return "sieve" if kind == "whole" else kind  # a sieve that fits into one unit


def _curves(part: Part) -> models.CurveProgress | None:
    if part.curves is None:
        return None
    return models.CurveProgress(
        digits=part.digits,
        done=part.curves.done,
        wanted=part.curves.wanted,
        ruled_out_digits=part.curves.ruled_out_digits,
    )


def _sieve(part: Part, now: float) -> models.SieveProgress | None:
    if part.sieve is None:
        return None
    return models.SieveProgress(
        digits=part.digits,
        full=part.sieve.full,
        partial=part.sieve.partial,
        usable=part.sieve.usable,
        needed=part.sieve.needed,
        rate=_rates(part.sieve, now).relations,
    )


class _Rates(NamedTuple):
    """Rates per second of a sieve; None until there is enough to measure them by."""

    indices: float | None
    relations: float | None


def _rates(sieve: SieveState, now: float) -> _Rates:
    if not sieve.marks or now <= sieve.marks[0][0]:
        return _Rates(None, None)
    at, indices, relations = sieve.marks[0]
    elapsed = now - at
    found = sieve.full + sieve.partial - relations
    return _Rates((sieve.indices - indices) / elapsed, round(found / elapsed, 1))


def _eta(known: Factorization, part: Part) -> float | None:
    """Return the seconds until a sieve ends, at the rate of the last minute."""
    if known.ended is not None:
        return 0.0
    if not known.active or part.sieve is None or not part.sieve.expected_indices:
        return None
    left = max(0, part.sieve.expected_indices - part.sieve.indices)
    rate = _rates(part.sieve, known.touched_at).indices
    return round(left / rate, 1) if rate else None


def _estimate(known: Factorization, part: Part) -> float | None:
    """Return the CPU seconds that a number took, or that it has taken and will still take."""
    if known.ended is not None:
        return round(known.cpu_seconds, 3)
    if part.sieve is None or not part.sieve.indices:
        least = estimates.cpu_seconds(part.digits)
        return None if least is None else round(known.cpu_seconds + known.slowness * least, 1)
    left = max(0, part.sieve.expected_indices - part.sieve.indices)
    return round(known.cpu_seconds + left * part.sieve.cpu_seconds / part.sieve.indices, 1)


def _matrix(known: Factorization) -> models.MatrixProgress | None:
    solving = next(
        (entry.solving for entry in known.outstanding.values() if entry.solving is not None), None
    )
    if solving is None:
        return None
    return models.MatrixProgress(
        stage=solving.stage, rows=solving.rows, done=solving.done, of=solving.of
    )


def _fraction(known: Factorization) -> float:
    if known.complete:
        return 1.0
    split = sum(part.exponent * _log(part.value) for part in known.parts if part.certainty.prime)
    return round(min(split / _log(known.number), 1.0), 4)


def _log(value: BigInt) -> float:
    return math.log(int(value))  # math.log takes integers that no float holds


def _factordb_status(number: int, known: Factorization | None) -> str:
    if number == 0:
        return "Zero"
    if abs(number) == 1:
        return "Unit"
    if known is None:
        return "U"
    if known.complete:
        return _complete_status(number, known)
    if len(known.parts) > 1 or known.parts[0].exponent > 1:
        return "CF"
    return "C" if known.parts[0].certainty is Certainty.COMPOSITE else "U"


def _complete_status(number: int, known: Factorization) -> str:
    first = known.parts[0]
    if number < 0 or len(known.parts) > 1 or first.exponent > 1:
        return "FF"
    return "P" if first.certainty is Certainty.PROVEN else "PRP"


def rfc3339(seconds: float) -> str:
    """Return a time (seconds since the epoch) in the format of RFC 3339."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
