"""Work units: bounded pieces of computation, and what a worker says of a finished one."""

import enum

import msgspec

from common.domain.codec import BigInt, Versioned


class Certainty(enum.StrEnum):
    """What is known about a divisor."""

    PROVEN = "proven"
    """A proven prime."""
    PROBABLE = "probable"
    """It passed BPSW; no composite that does is known."""
    COMPOSITE = "composite"
    UNKNOWN = "unknown"
    """Nobody has looked at it yet."""

    @property
    def prime(self) -> bool:
        """Whether it counts as a prime factor in an answer."""
        return self in (Certainty.PROVEN, Certainty.PROBABLE)


class Piece(msgspec.Struct, frozen=True):
    """One element of a decomposition: ``value ** exponent``."""

    value: BigInt
    exponent: int
    certainty: Certainty


class Survey(msgspec.Struct, frozen=True, tag="survey"):
    """Everything cheap: trial division, perfect powers, algebraic factors, primality."""

    target: BigInt


class Method(enum.StrEnum):
    """The group that a curve unit works in."""

    P_MINUS_1 = "p-1"
    P_PLUS_1 = "p+1"
    ECM = "ecm"


class Curves(msgspec.Struct, frozen=True, tag="ecm"):
    """A batch of elliptic curves (or one run of P-1 or P+1) with everything random spelt out.

    The curves are ``first_sigma`` … ``first_sigma + count - 1`` with stage-1 bound ``b1``.
    """

    target: BigInt
    method: Method
    b1: int
    first_sigma: int
    count: int

    @property
    def next_sigma(self) -> int:
        """The first sigma after the batch."""
        return self.first_sigma + self.count


class Whole(msgspec.Struct, frozen=True, tag="whole"):
    """Factor the target completely in one call."""

    target: BigInt


class Sieve(msgspec.Struct, frozen=True, tag="sieve"):
    """Sieve polynomials of the self-initialising quadratic sieve for relations.

    They are those of the leading coefficients number ``first`` … ``first + count - 1``.
    """

    target: BigInt
    parameters: dict[str, int]
    """The sieve's parameters, resolved in full: the engine's table may change under way."""
    first: int
    count: int


class Solve(msgspec.Struct, frozen=True, tag="solve"):
    """Turn the stored relations of a sieve into divisors of the target."""

    target: BigInt
    parameters: dict[str, int]


class Prove(msgspec.Struct, frozen=True, tag="prove"):
    """Prove the target prime."""

    target: BigInt


Work = Survey | Curves | Whole | Sieve | Solve | Prove


def kind_of(work: Work) -> str:
    """Return the kind of a piece of work as the queue, the metrics and the log name it."""
    return kind_named(type(work))


def kind_named(work: type[Work]) -> str:
    """Return the name of a kind of work."""
    return str(work.__struct_config__.tag)


class Unit(Versioned, frozen=True, kw_only=True):
    """A message to whichever worker is free: self-contained, deterministic, safe to run twice."""

    unit_id: str
    number: BigInt
    """The factorization that the unit belongs to."""
    work: Work

    @property
    def kind(self) -> str:
        """The kind of the work."""
        return kind_of(self.work)


class Fault(enum.StrEnum):
    """Why a unit gave no result. Each has a budget of its own."""

    CRASH = "crash"
    """The child process died."""
    TIMEOUT = "timeout"
    """It ran past its wall-clock limit."""
    MEMORY = "memory"
    """It outgrew its memory limit."""
    WRONG = "wrong"
    """It returned something that is not so."""
    UNDELIVERED = "undelivered"
    """The broker gave up delivering it: workers kept dying with it in hand."""


class Failure(msgspec.Struct, frozen=True):
    """What went wrong with one attempt, in words for an operator."""

    fault: Fault
    detail: str


class Sieved(msgspec.Struct, frozen=True):
    """What a sieve unit found; the relations themselves are in the store."""

    indices: int
    """Leading coefficients that were sieved to the end."""
    full: int
    """Relations without a large prime."""
    partial: int
    """Relations with one or two large primes."""


class Counted(msgspec.Struct, frozen=True):
    """What a solve unit counted that did not find a divisor."""

    usable: int
    """Independent relations and cycles in the good batches."""
    needed: int
    refused: dict[str, str] = {}
    """Units whose batches were left out whole, each with the reason."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker says of a finished unit.

    ``pieces`` is a decomposition of the unit's target (their product is the target), or empty if
    nothing new was learnt. ``curves`` counts the curves that really ran.
    """

    unit_id: str
    worker_id: str = ""
    pieces: tuple[Piece, ...] = ()
    curves: int = 0
    sieved: Sieved | None = None
    counted: Counted | None = None
    cpu_seconds: float = 0.0
    slowness: float = 1.0
    """CPU seconds of the worker's machine for one of the machine that estimates were measured on."""
    failure: Failure | None = None
