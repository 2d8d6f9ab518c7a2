"""The stages of a factorization as a line each: how far, and what it says. Pure."""

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
"""Kind of work unit → what people call its stage, in their order."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a task."""

    name: str
    live: bool
    """Whether it is the present one."""
    share: float | None
    """How far it is, 0 to 1; None where nobody can tell."""
    says: str


def stages(progress: Progress) -> list[Stage]:
    """Return the stages, in order; those before the present one are taken for done."""
    kinds = list(NAMES)
    present = kinds.index(progress.stage) if progress.stage in kinds else -1
    shown = []
    for place, kind in enumerate(kinds):
        share, says = _detail(kind, progress)
        if place < present:
            share = 1.0
        elif place > present or present < 0:
            share = 0.0 if share is None else share
        shown.append(Stage(NAMES[kind], live=place == present, share=share, says=says))
    return shown


def line(task: Task) -> str:
    """Return where a task stands in one line, without anything that changes by itself."""
    progress = task.progress
    if task.done:
        return f"{task.status}{f': {task.reason}' if task.reason else ''}"
    says = next((stage.says for stage in stages(progress) if stage.live), "")
    parts = [f"{name(progress)}{f': {says}' if says else ''}"]
    if progress.workers:
        parts.append(workers(progress))
    if found := [part for part in task.factors if part.certainty != "unit"]:
        parts.append(f"{sum(part.exponent for part in found)} prime factors found")
    return "; ".join(parts)


def name(progress: Progress) -> str:
    """Return what people call the present stage; a newer service may have stages that we do not know."""
    others = {"queued": "waiting for a worker"}
    return NAMES.get(progress.stage) or others.get(progress.stage, progress.stage)


def workers(progress: Progress) -> str:
    """Return how many work on it."""
    return f"{progress.workers} worker{'' if progress.workers == 1 else 's'}"


def effort(progress: Progress) -> str:
    """Return the time spent, against the estimate if there is one."""
    spent = f"{duration(progress.cpu_seconds)} of CPU time"
    if progress.estimate_cpu_seconds is None:
        return spent
    return f"{spent}, about {duration(progress.estimate_cpu_seconds)} expected"


def _detail(kind: str, progress: Progress) -> tuple[float | None, str]:
    match kind:
        case "ecm" if progress.curves is not None:
            return _curves(progress.curves)
        case "sieve" if progress.sieve is not None:
            return _sieve(progress.sieve, progress)
        case "solve" if progress.matrix is not None:
            return _matrix(progress.matrix)
    return None, ""


def _curves(curves: CurveProgress) -> tuple[float | None, str]:
    says = f"C{curves.digits}: {curves.done:,} of {curves.wanted:,} curves"
    if curves.ruled_out_digits:
        says += f", factors to {curves.ruled_out_digits} digits ruled out"
    return _share(curves.done, curves.wanted), says


def _sieve(sieve: SieveProgress, progress: Progress) -> tuple[float | None, str]:
    says = f"C{sieve.digits}: {sieve.usable:,} of {sieve.needed:,} relations"
    live = progress.stage == "sieve"  # afterwards, speed and time left are of no interest
    if live and sieve.rate is not None:
        says += f", {sieve.rate:,.0f}/s"
    if live and progress.eta_seconds is not None:
        says += f", about {duration(max(1, round(progress.eta_seconds)))} to go"
    return _share(sieve.usable, sieve.needed), says


def _matrix(matrix: MatrixProgress) -> tuple[float | None, str]:
    says = f"{matrix.stage}, {matrix.rows:,} rows"
    if matrix.of:
        says += f", {matrix.done:,} of {matrix.of:,}"
    return _share(matrix.done, matrix.of), says


def _share(done: int, of: int) -> float | None:
    return min(done / of, 1.0) if of > 0 else None
