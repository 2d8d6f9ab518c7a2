"""The shapes of requests and answers. The OpenAPI document is made from these types and docstrings."""

import msgspec

from common.domain import Status


class Factor(msgspec.Struct, frozen=True, kw_only=True):
    """A prime power of the answer. The sign of a negative number is the factor -1."""

    prime: str
    exponent: int
    certainty: str
    """``proven``, ``probable`` or, for -1, ``unit``."""


class Composite(msgspec.Struct, frozen=True, kw_only=True):
    """A divisor that is not split yet. Its certainty is ``composite`` or ``unknown``."""

    value: str
    exponent: int
    digits: int
    certainty: str


class CurveProgress(msgspec.Struct, frozen=True, kw_only=True):
    """Elliptic curves on the hardest composite."""

    digits: int
    """Digits of the composite."""
    done: int
    wanted: int
    """All curves that are planned for this composite, over all levels."""
    ruled_out_digits: int
    """A factor of up to this many digits would have been found with probability 1 - 1/e or more."""


class SieveProgress(msgspec.Struct, frozen=True, kw_only=True):
    """Relations of the quadratic sieve on the hardest composite."""

    digits: int
    """Digits of the composite."""
    full: int
    partial: int
    usable: int
    """Full relations and cycles of partial ones, as far as counting can tell."""
    needed: int
    """How many of those it takes to split the composite."""
    rate: float | None = None
    """Relations (full and partial) per second, over the last minute or less."""


class MatrixProgress(msgspec.Struct, frozen=True, kw_only=True):
    """Solving after the sieve: verification, filtering, the matrix, square roots."""

    stage: str
    rows: int
    """Rows of the matrix."""
    done: int
    of: int
    """The value of ``done`` at which the stage ends."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far the work on a number is. A value that cannot be estimated is null."""

    stage: str
    """``queued``; the kind of most units in progress (``survey`` ``ecm`` ``sieve`` ``solve`` ``prove``);
    ``resting`` or ``done``."""
    fraction: float | None = None
    """The share of the number's digits that is split into primes, 0 to 1."""
    rate: float | None = None
    """Units finished per second since the number was first submitted."""
    eta_seconds: float | None = None
    """Seconds until the sieve is done, at the rate of the last minute; null before it, 0 at the end."""
    units_issued: int = 0
    units_outstanding: int = 0
    cpu_seconds: float = 0.0
    estimate_cpu_seconds: float | None = None
    """CPU seconds that the number takes in all; null if there is no estimate."""
    workers: int = 0
    """Workers that work on this number."""
    effort: dict[str, int] = {}
    """Curves done on the hardest composite, by method and bound."""
    curves: CurveProgress | None = None
    sieve: SieveProgress | None = None
    matrix: MatrixProgress | None = None


class TaskLinks(msgspec.Struct, frozen=True, kw_only=True):
    """Paths of a task, of its number, and of its result in one string."""

    self_: str = msgspec.field(name="self")
    number: str
    legacy: str


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """Why nothing is computed for a task at present, and when that is over."""

    why: str
    """The name of a type of problem, as in ``/problems/cpu-used-up``."""
    detail: str
    """The reason in a sentence."""
    until: str
    """When it goes on by itself (RFC 3339)."""


class TaskView(msgspec.Struct, frozen=True, kw_only=True):
    """A task with everything that is known about its number."""

    task_id: str
    """Its random id. Without API keys, whoever knows the id can read the task."""
    number: str
    """The number in decimal digits."""
    expression: str
    """The number as it was submitted."""
    status: Status
    """How far the task is, in one word."""
    done: bool
    """Whether the status is final. Wait for this, not for a particular status."""
    result: str | None
    """The prime factors with multiplicity, ascending, separated by commas, once all are known."""
    factors: list[Factor]
    composites: list[Composite]
    progress: Progress
    reason: str | None
    """Why it failed, is partial or was cancelled."""
    waiting: Waiting | None
    """Why it waits although it could be worked on; null if it does not. While a task has not begun, this is
    as of the time of reading and does not change the version."""
    version: int
    """Grows with every change. The entity tag is made from it."""
    created_at: str
    """When it was accepted (RFC 3339)."""
    ended_at: str | None
    """When it ended; null until then."""
    links: TaskLinks
    """Paths of the task, of its number, and of its result in one string."""


class TaskPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the owner's tasks, newest first."""

    tasks: list[TaskView]
    next_cursor: str | None
    """The ``cursor`` of the next page, which has older tasks; null on the last page."""


class Legacy(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of ``GET /get/{task_id}``.

    ``2,617`` · ``Calculating...`` · ``Partial: 2,C(91)`` (composites in ``C(…)``) ·
    ``Failed: reason`` · ``Cancelled: reason``.
    """

    result: str


class NumberLinks(msgspec.Struct, frozen=True, kw_only=True):
    """The path of a number."""

    self_: str = msgspec.field(name="self")


class NumberView(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about a number, whoever submitted it."""

    number: str
    status: str
    """FactorDB's code: ``FF`` ``CF`` ``C`` ``P`` ``PRP`` ``Unit`` ``Zero``, or ``U`` for unknown."""
    factors: list[Factor]
    composites: list[Composite]
    digits: int
    """Decimal digits of the absolute value."""
    progress: Progress
    version: int
    links: NumberLinks


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error: what happened and what to do (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    position: int | None = None
    """The character of the number that is wrong, counted from 1."""
    limit_digits: int | None = None
    """How many decimal digits a number may have."""


class FactorRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A number to factor: an integer of any size, or a string with digits or an expression."""

    number: int | str


class BatchRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Many numbers to factor."""

    numbers: list[int | str]


class BatchItem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The result for one number of a batch: a task or a problem."""

    index: int
    """The number's position in the request, counted from 0."""
    task: TaskView | None = None
    problem: Problem | None = None


class BatchResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result for each number of a batch, in the order of the request."""

    accepted: int
    refused: int
    items: list[BatchItem]


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the process is ``alive``, ``ready`` or ``draining``."""

    status: str
    broker_connected: bool
    """If not, numbers are still accepted, and published later."""


class QueueStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A queue of units."""

    name: str
    waiting: int | None
    """Messages that no worker has taken yet; null if the broker does not answer."""


class WorkerView(msgspec.Struct, frozen=True, kw_only=True):
    """A worker process, as of its last heartbeat."""

    worker_id: str
    host: str
    pid: int
    slots: int
    running: int
    """Units that it is computing."""
    units_done: int
    """Units that it has computed since it started."""
    started_at: str
    seen_at: str


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """What came of erasing an owner's tasks."""

    erased: int
    """How many were erased by this request."""
    more: bool
    """Whether there are more: repeat the request."""


class StoreSize(msgspec.Struct, frozen=True, kw_only=True):
    """How large a part of the store is."""

    part: str
    """A collection of MongoDB, or the file of the embedded store."""
    size_bytes: int
    """On disk, with its indexes."""
    documents: int | None
    """Null if they cannot be counted quickly."""


class ServiceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator looks at first. A value that is not available at the moment is null."""

    at: str
    """When this was true. Throughput is the difference between two answers."""
    version: str
    """Of the gateway that answers."""
    broker_connected: bool
    sockets: int
    """Open WebSockets of the gateway that answers."""
    queues: list[QueueStatus]
    workers: list[WorkerView] | None
    """Workers with a recent heartbeat; null if the store does not answer."""
    store: list[StoreSize] | None
    """The sizes of the store's parts; null if the store does not answer."""
    management_url: str | None
    """RabbitMQ's management page, if FACTORLINE_MANAGEMENT_URL names it."""
    metrics_url: str
