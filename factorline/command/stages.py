"""The stages of a factorization, with the progress of each as text. Pure."""

from dataclasses import dataclass

from factorline.command.texts import duration
from factorline.models import CurveProgress, MatrixProgress, Progress, SieveProgress, Task

NAMES = {
    "survey": "survey",
    "ecm": "elliptic curves",
    "sieve": "sieve",
    "solve": "linear algebra",
    "prove": "proof",
}
"""The kinds of work units, in order, with the names of their stages."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a task."""

    name: str
    live: bool
    """Whether it is the current one."""
    share: float | None
    """Its progress, 0 to 1; None if that is unknown."""
    details: str


def stages(progress: Progress) -> list[Stage]:
    """Return the stages, in order; those before the current one count as done."""
    kinds = list(NAMES)
    current = kinds.index(progress.stage) if progress.stage in kinds else -1
    shown = []
    for place, kind in enumerate(kinds):
        share, details = _details(kind, progress)
        if place < current:
            share = 1.0
        elif place > current or current < 0:
            share = 0.0 if share is None else share
        shown.append(Stage(NAMES[kind], live=place == current, share=share, details=details))
    return shown


def line(task: Task) -> str:
    """Return the progress of a task in one line, without anything that only the clock changes."""
    progress = task.progress
    if task.done:
        return f"{task.status}{f': {task.reason}' if task.reason else ''}"
    details = next((stage.details for stage in stages(progress) if stage.live), "")
    parts = [f"{name(progress)}{f': {details}' if details else ''}"]
    if progress.workers:
        parts.append(workers(progress))
    if found := [part for part in task.factors if part.certainty != "unit"]:
        parts.append(f"{sum(part.exponent for part in found)} prime factors found")
    return "; ".join(parts)


def name(progress: Progress) -> str:
    """Return the name of the current stage; one that is new in the service goes by its own."""
    others = {"queued": "waiting for a worker"}
    return NAMES.get(progress.stage) or others.get(progress.stage, progress.stage)


def workers(progress: Progress) -> str:
    """Return how many workers have a unit of the task."""
    return f"{progress.workers} worker{'' if progress.workers == 1 else 's'}"


def effort(progress: Progress) -> str:
    """Return the CPU time spent, and the estimate if there is one."""
    spent = f"{duration(progress.cpu_seconds)} of CPU time"
    if progress.estimate_cpu_seconds is None:
        return spent
    return f"{spent}, about {duration(progress.estimate_cpu_seconds)} expected"


def _details(kind: str, progress: Progress) -> tuple[float | None, str]:
    match kind:
        case "ecm" if progress.curves is not None:
            return _curves(progress.curves)
        case "sieve" if progress.sieve is not None:
            return _sieve(progress.sieve, progress)
        case "solve" if progress.matrix is not None:
            return _matrix(progress.matrix)
    return None, ""


def _curves(curves: CurveProgress) -> tuple[float | None, str]:
    details = f"C{curves.digits}: {curves.done:,} of {curves.wanted:,} curves"
    if curves.ruled_out_digits:
        details += f", factors up to {curves.ruled_out_digits} digits ruled out"
    return _share(curves.done, curves.wanted), details


def _sieve(sieve: SieveProgress, progress: Progress) -> tuple[float | None, str]:
    details = f"C{sieve.digits}: {sieve.usable:,} of {sieve.needed:,} relations"
    live = progress.stage == "sieve"  # afterwards, the rate and the time left mean nothing
    if live and sieve.rate is not None:
        details += f", {sieve.rate:,.0f}/s"
    if live and progress.eta_seconds is not None:
        details += f", about {duration(max(1, round(progress.eta_seconds)))} to go"
    return _share(sieve.usable, sieve.needed), details


def _matrix(matrix: MatrixProgress) -> tuple[float | None, str]:
    details = f"{matrix.stage}, {matrix.rows:,} rows"
    if matrix.of:
        details += f", {matrix.done:,} of {matrix.of:,}"
    return _share(matrix.done, matrix.of), details


def _share(done: int, of: int) -> float | None:
    return min(done / of, 1.0) if of > 0 else None
