"""How the progress of a task is shown to people."""

import pytest
from rich.console import Console

from factorline.command import bars, stages
from factorline.models import (
    Composite,
    CurveProgress,
    Factor,
    MatrixProgress,
    Progress,
    SieveProgress,
    Task,
    TaskLinks,
)

CURVES = CurveProgress(digits=74, done=120, wanted=1214, ruled_out_digits=20)
SIEVE = SieveProgress(digits=74, full=900, partial=12_345, usable=4000, needed=12_000, rate=310.4)
MATRIX = MatrixProgress(stage="matrix", rows=12_001, done=20, of=190)
MANY = CurveProgress(digits=74, done=0, wanted=10, ruled_out_digits=0)


def task(progress: Progress) -> Task:
    """Return a task of 80 digits with two primes found."""
    composite = Composite(value="9" * 74, exponent=1, digits=74, certainty="composite")
    return Task(
        task_id="x",
        number="1" * 80,
        expression="(10^80-1)/9",
        status="running",
        done=False,
        result=None,
        factors=[Factor(prime="11", exponent=2, certainty="proven")],
        composites=[composite],
        progress=progress,
        reason=None,
        version=3,
        created_at="2026-01-01T00:00:00+00:00",
        ended_at=None,
        links=TaskLinks(self_="", number="", legacy=""),
    )


@pytest.mark.parametrize(
    ("progress", "says"),
    [
        (Progress(stage="queued"), "waiting for a worker"),
        (Progress(stage="survey", workers=1), "survey; 1 worker"),
        (
            Progress(stage="ecm", workers=2, curves=CURVES),
            "elliptic curves: C74: 120 of 1,214 curves, factors up to 20 digits ruled out; 2 workers",
        ),
        (Progress(stage="ecm", curves=MANY), "elliptic curves: C74: 0 of 10 curves"),
        (
            Progress(stage="sieve", sieve=SIEVE, eta_seconds=150.2),
            "sieve: C74: 4,000 of 12,000 relations, 310/s, about 2 min 30 s to go",
        ),
        (
            Progress(stage="solve", matrix=MATRIX),
            "linear algebra: matrix, 12,001 rows, 20 of 190",
        ),
        (Progress(stage="something new"), "something new"),
    ],
)
def test_a_line_shows_the_progress(progress: Progress, says: str) -> None:
    """In a pipe this is all that is printed; what is null is left out."""
    assert f"{says}; 2 prime factors found" == stages.line(task(progress))


def test_earlier_stages_are_done_and_later_ones_are_not() -> None:
    """The current one has its progress and its details."""
    shown = stages.stages(Progress(stage="sieve", curves=CURVES, sieve=SIEVE))

    later = stages.stages(Progress(stage="solve", sieve=SIEVE, eta_seconds=5.0))

    assert "C74: 4,000 of 12,000 relations" == later[2].details
    assert [1.0, 1.0, 4000 / 12_000, 0.0, 0.0] == [stage.share for stage in shown]
    assert [False, False, True, False, False] == [stage.live for stage in shown]


def test_the_terminal_shows_stages_effort_and_factors() -> None:
    """During the sieve: earlier stages as done, a bar for the sieve, and the factors found."""
    drawn = bars.Bars()
    progress = Progress(
        stage="sieve",
        workers=2,
        cpu_seconds=133.0,
        estimate_cpu_seconds=400.0,
        curves=CURVES,
        sieve=SIEVE,
    )
    drawn.state(task(progress))
    console = Console(width=110)
    with console.capture() as captured:
        console.print(drawn.picture())
    picture = captured.get()

    assert "(10^80-1)/9  80 digits  2 workers" in picture
    assert "2 min 13 s of CPU time, about 6 min 40 s expected" in picture
    assert (
        "✓ elliptic curves C74: 120 of 1,214 curves, factors up to 20 digits ruled out" in picture
    )
    assert "C74: 4,000 of 12,000 relations, 310/s" in picture
    assert "found so far: 11^2" in picture
