"""The values that the service returns, as far as a client reads them.

The client and the service may be of different versions: a member that this client does not know is
ignored, and a member that an older service does not send has a default.
`tests/client/test_contract.py` checks that both sides agree.
"""

import math

import msgspec


class Factor(msgspec.Struct, frozen=True, kw_only=True):
    """A prime power in a factorization; the sign of a negative number appears as the "prime" -1."""

    prime: str
    exponent: int
    certainty: str
    """``proven``, ``probable`` or, for -1, ``unit``."""


class Composite(msgspec.Struct, frozen=True, kw_only=True):
    """A divisor that is not factored yet."""

    value: str
    exponent: int
    digits: int
    certainty: str


class CurveProgress(msgspec.Struct, frozen=True, kw_only=True):
    """The progress of the elliptic curves on the hardest composite."""

    digits: int
    done: int
    wanted: int
    ruled_out_digits: int
    """Factors up to this many digits are unlikely by now."""


class SieveProgress(msgspec.Struct, frozen=True, kw_only=True):
    """The progress of the quadratic sieve on the hardest composite."""

    digits: int
    full: int
    partial: int
    usable: int
    needed: int
    rate: float | None = None
    """Relations per second."""


class MatrixProgress(msgspec.Struct, frozen=True, kw_only=True):
    """The progress of the linear algebra that follows the sieve."""

    stage: str
    rows: int
    done: int
    of: int


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """The progress of the work. What the service cannot estimate is None."""

    stage: str
    fraction: float | None = None
    rate: float | None = None
    eta_seconds: float | None = None
    units_issued: int = 0
    units_outstanding: int = 0
    cpu_seconds: float = 0.0
    estimate_cpu_seconds: float | None = None
    workers: int = 0
    effort: dict[str, int] = {}
    curves: CurveProgress | None = None
    sieve: SieveProgress | None = None
    matrix: MatrixProgress | None = None


class TaskLinks(msgspec.Struct, frozen=True, kw_only=True):
    """Paths related to a task."""

    self_: str = msgspec.field(name="self")
    number: str
    legacy: str


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """Why nothing is computed for a task at present, and when that is over."""

    why: str
    """``cpu-used-up``, or a newer one."""
    detail: str
    """The reason in a sentence."""
    until: str
    """When it goes on by itself (RFC 3339)."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A task, with everything known about its number."""

    task_id: str
    number: str
    expression: str
    status: str
    """``queued`` ``running`` ``succeeded`` ``partial`` ``failed`` ``cancelled``, or a newer one."""
    done: bool
    """Whether the status is final."""
    result: str | None
    factors: list[Factor]
    composites: list[Composite]
    progress: Progress
    reason: str | None
    waiting: Waiting | None = None
    """Why it waits although it could be worked on; None if it does not, or if the service does not say."""
    version: int
    created_at: str
    ended_at: str | None
    links: TaskLinks

    @property
    def succeeded(self) -> bool:
        """Whether every prime factor is known."""
        return self.status == "succeeded"

    @property
    def primes(self) -> list[int]:
        """The primes found, ascending, each as often as it divides; for a negative number -1 comes first."""
        return [int(factor.prime) for factor in self.factors for _ in range(factor.exponent)]


class TaskPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of your tasks, newest first."""

    tasks: list[Task]
    next_cursor: str | None


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """What came of erasing tasks."""

    erased: int
    more: bool
    """Whether the service stopped before it had erased all."""


class NumberLinks(msgspec.Struct, frozen=True, kw_only=True):
    """Paths related to a number."""

    self_: str = msgspec.field(name="self")


class KnownNumber(msgspec.Struct, frozen=True, kw_only=True):
    """What the service knows about a number, no matter who submitted it."""

    number: str
    status: str
    """FactorDB's codes: ``FF`` ``CF`` ``C`` ``P`` ``PRP`` ``Unit`` ``Zero``, and ``U`` for unknown."""
    factors: list[Factor]
    composites: list[Composite]
    digits: int
    progress: Progress
    version: int
    links: NumberLinks


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    position: int | None = None
    """Where the number is wrong: a character position, counted from 1."""
    limit_digits: int | None = None

    @property
    def name(self) -> str:
        """The last part of the type, for example ``unknown-task``."""
        return self.type.rpartition("/")[2]


class BatchItem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The outcome for one number of a batch: a task or a problem."""

    index: int
    task: Task | None = None
    problem: Problem | None = None


class BatchResult(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome for each number of a batch, in order."""

    accepted: int
    refused: int
    items: list[BatchItem]


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a service: ``alive``, ``ready`` or ``draining``."""

    status: str
    broker_connected: bool


def product_of(factors: list[Factor], composites: list[Composite]) -> int:
    """Return the product of the factors of an answer."""
    powers = [(int(factor.prime), factor.exponent) for factor in factors]
    powers += [(int(composite.value), composite.exponent) for composite in composites]
    return math.prod(base for base, exponent in powers for _ in range(exponent))
