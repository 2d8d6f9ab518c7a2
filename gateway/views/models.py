"""The shapes of requests and answers; the OpenAPI document is made from these very types."""

import msgspec

from common.domain import Status


class Factor(msgspec.Struct, frozen=True, kw_only=True):
    """A prime power of the answer; the sign of a negative number is the "prime" -1."""

    prime: str
    exponent: int
    certainty: str
    """``proven``, ``probable`` or, for -1, ``unit``."""


class Composite(msgspec.Struct, frozen=True, kw_only=True):
    """A divisor that is not split yet; its certainty is ``composite`` or ``unknown``."""

    value: str
    exponent: int
    digits: int
    certainty: str


class CurveProgress(msgspec.Struct, frozen=True, kw_only=True):
    """Elliptic curves on the hardest composite."""

    digits: int
    """Of the composite."""
    done: int
    wanted: int
    """All curves that the plan gives this composite, over all levels."""
    ruled_out_digits: int
    """Factors of up to so many digits are unlikely by now (each was missed once in e times)."""


class SieveProgress(msgspec.Struct, frozen=True, kw_only=True):
    """Relations of the quadratic sieve on the hardest composite."""

    digits: int
    """Of the composite."""
    full: int
    partial: int
    usable: int
    """Full ones and cycles of partial ones, as far as can be told by counting."""
    needed: int
    rate: float | None = None
    """Relations (full and partial) a second, over the last minute or less."""


class MatrixProgress(msgspec.Struct, frozen=True, kw_only=True):
    """The solving of a sieve: verify, filter, matrix, square root."""

    stage: str
    rows: int
    done: int
    of: int


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far the work on a number is. What cannot be estimated honestly is null."""

    stage: str
    """``queued``, the kind of most units under way (``survey`` ``ecm`` ``sieve`` ``solve`` ``prove``),
    ``resting`` or ``done``."""
    fraction: float | None = None
    """The share of the number's digits that is split into primes, 0 to 1."""
    rate: float | None = None
    """Units settled a second since the number was first asked for."""
    eta_seconds: float | None = None
    units_issued: int = 0
    units_outstanding: int = 0
    cpu_seconds: float = 0.0
    estimate_cpu_seconds: float | None = None
    """CPU seconds that the whole number is expected to take; null where nobody knows."""
    workers: int = 0
    """Workers that have a unit of this number in hand."""
    effort: dict[str, int] = {}
    """Curves done on the hardest composite, by method and bound."""
    curves: CurveProgress | None = None
    sieve: SieveProgress | None = None
    matrix: MatrixProgress | None = None


class TaskLinks(msgspec.Struct, frozen=True, kw_only=True):
    """Where to go from a task."""

    self_: str = msgspec.field(name="self")
    number: str
    legacy: str


class TaskView(msgspec.Struct, frozen=True, kw_only=True):
    """A task with all that is known of its number."""

    task_id: str
    """Its name in every call; who knows it may read the task, so it cannot be guessed."""
    number: str
    """In decimal digits."""
    expression: str
    """The number as it was given."""
    status: Status
    """How far the task is, in one word."""
    done: bool
    """Whether the status is final: wait for this and not for a status that you know."""
    result: str | None
    """The prime factors with multiplicity, ascending, separated by commas, once all are known."""
    factors: list[Factor]
    composites: list[Composite]
    progress: Progress
    reason: str | None
    """Why it failed, stayed partial or was cancelled."""
    version: int
    """It grows with every change; the entity tag is made of it."""
    created_at: str
    """When it was accepted (RFC 3339)."""
    ended_at: str | None
    """When it ended; null until then."""
    links: TaskLinks
    """Paths of the task itself, of its number, and of its short answer."""


class TaskPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the owner's tasks, newest first."""

    tasks: list[TaskView]
    next_cursor: str | None
    """What to give as ``cursor`` for the tasks before these; null on the last page."""


class Legacy(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of ``GET /get/{task_id}``.

    ``2,617`` · ``Calculating...`` · ``Partial: 2,C(91)`` (composites in ``C(…)``) ·
    ``Failed: reason`` · ``Cancelled: reason``.
    """

    result: str


class NumberLinks(msgspec.Struct, frozen=True, kw_only=True):
    """Where to go from a number."""

    self_: str = msgspec.field(name="self")


class NumberView(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a number, whoever asked for it."""

    number: str
    status: str
    """As FactorDB writes it: ``FF`` ``CF`` ``C`` ``P`` ``PRP`` ``Unit`` ``Zero``; ``U``: unknown."""
    factors: list[Factor]
    composites: list[Composite]
    digits: int
    """Decimal digits of the absolute value."""
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
    """The most decimal digits that are taken."""


class FactorRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A number to factor: an integer of any size, or a string with digits or an expression."""

    number: int | str


class BatchRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Many numbers to factor."""

    numbers: list[int | str]


class BatchItem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one number of a batch: a task or a problem."""

    index: int
    task: TaskView | None = None
    problem: Problem | None = None


class BatchResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of each number of a batch, in the order of the request."""

    accepted: int
    refused: int
    items: list[BatchItem]


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """``alive``, ``ready`` or ``draining``."""

    status: str
    broker_connected: bool
    """While it is false numbers are accepted all the same, and published later."""


class QueueStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One queue of units."""

    name: str
    waiting: int | None
    """Messages that no worker has yet; null while the broker does not answer."""


class WorkerView(msgspec.Struct, frozen=True, kw_only=True):
    """One worker process, as it last spoke of itself."""

    worker_id: str
    host: str
    pid: int
    slots: int
    running: int
    """Units in its hands."""
    units_done: int
    """Units computed since it started."""
    started_at: str
    seen_at: str


class ServiceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator looks at first. What cannot be had at the moment is null."""

    at: str
    """When this was true; throughput is the difference of two answers."""
    version: str
    """Of the gateway that answers."""
    broker_connected: bool
    sockets: int
    """WebSockets of the gateway that answers."""
    queues: list[QueueStatus]
    workers: list[WorkerView] | None
    """Those heard of in the last seconds; null while the store does not answer."""
    management_url: str | None
    """RabbitMQ's management page, if the gateway was told where it is."""
    metrics_url: str
