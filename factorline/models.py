"""What the service says, as values: the parts of the contract that a client reads.

A member that this client does not know is passed over, and one that an older service does not send
has a default, so that either may be newer. `tests/client/test_contract.py` holds the rest together.
"""

import math

import msgspec


class Factor(msgspec.Struct, frozen=True, kw_only=True):
    """A prime power of the answer; the sign of a negative number is the "prime" -1."""

    prime: str
    exponent: int
    certainty: str
    """``proven``, ``probable`` or, for -1, ``unit``."""


class Composite(msgspec.Struct, frozen=True, kw_only=True):
    """A divisor that is not split yet."""

    value: str
    exponent: int
    digits: int
    certainty: str


class CurveProgress(msgspec.Struct, frozen=True, kw_only=True):
    """Elliptic curves on the hardest composite."""

    digits: int
    done: int
    wanted: int
    ruled_out_digits: int
    """Smaller factors are unlikely by now."""


class SieveProgress(msgspec.Struct, frozen=True, kw_only=True):
    """Relations of the quadratic sieve on the hardest composite."""

    digits: int
    full: int
    partial: int
    usable: int
    needed: int
    rate: float | None = None
    """Relations a second."""


class MatrixProgress(msgspec.Struct, frozen=True, kw_only=True):
    """What follows the sieve."""

    stage: str
    rows: int
    done: int
    of: int


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far the work is. What the service cannot tell honestly is None."""

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
    """Where to go from a task."""

    self_: str = msgspec.field(name="self")
    number: str
    legacy: str


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A task with all that is known of its number."""

    task_id: str
    number: str
    expression: str
    status: str
    """``queued`` ``running`` ``succeeded`` ``partial`` ``failed`` ``cancelled``; others may come."""
    done: bool
    """Whether the status is final."""
    result: str | None
    factors: list[Factor]
    composites: list[Composite]
    progress: Progress
    reason: str | None
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
        """The primes found, ascending, repeated as often as they divide; -1 first if negative."""
        return [int(factor.prime) for factor in self.factors for _ in range(factor.exponent)]


class TaskPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some of one's tasks, newest first."""

    tasks: list[Task]
    next_cursor: str | None


class NumberLinks(msgspec.Struct, frozen=True, kw_only=True):
    """Where to go from a number."""

    self_: str = msgspec.field(name="self")


class KnownNumber(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a number, whoever asked for it."""

    number: str
    status: str
    """As FactorDB writes it: ``FF`` ``CF`` ``C`` ``P`` ``PRP`` ``Unit`` ``Zero``; ``U``: unknown."""
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
    """The character of the number at fault, counted from 1."""
    limit_digits: int | None = None

    @property
    def name(self) -> str:
        """The last part of the type: ``unknown-task``."""
        return self.type.rpartition("/")[2]


class BatchItem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one number of a batch: a task or a problem."""

    index: int
    task: Task | None = None
    problem: Problem | None = None


class BatchResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of each number of a batch, in order."""

    accepted: int
    refused: int
    items: list[BatchItem]


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """``alive``, ``ready`` or ``draining``."""

    status: str
    broker_connected: bool


def product_of(factors: list[Factor], composites: list[Composite]) -> int:
    """Return what the parts of an answer multiply to."""
    powers = [(int(factor.prime), factor.exponent) for factor in factors]
    powers += [(int(composite.value), composite.exponent) for composite in composites]
    return math.prod(base for base, exponent in powers for _ in range(exponent))
