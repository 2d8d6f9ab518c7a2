"""Work units: bounded pieces of computation, and the outcome that a worker reports for each."""

import enum

import msgspec

from common.domain.codec import BigInt, Versioned


class Certainty(enum.StrEnum):
    """What is known about the primality of a divisor."""

    PROVEN = "proven"
    """A proven prime."""
    PROBABLE = "probable"
    """It passed the BPSW test; no composite is known to pass."""
    COMPOSITE = "composite"
    UNKNOWN = "unknown"
    """It has not been looked at yet."""

    @property
    def prime(self) -> bool:
        """Whether it counts as a prime factor in an answer."""
        return self in (Certainty.PROVEN, Certainty.PROBABLE)


class Piece(msgspec.Struct, frozen=True):
    """One factor of a decomposition: ``value ** exponent``."""

    value: BigInt
    exponent: int
    certainty: Certainty


class Survey(msgspec.Struct, frozen=True, tag="survey"):
    """Do everything cheap: trial division, perfect powers, algebraic factors, primality."""

    target: BigInt


class Method(enum.StrEnum):
    """The method of a curve unit."""

    P_MINUS_1 = "p-1"
    P_PLUS_1 = "p+1"
    ECM = "ecm"


class Curves(msgspec.Struct, frozen=True, tag="ecm"):
    """Run a batch of elliptic curves, or P-1 or P+1 once, with everything random spelled out.

    The curves have the sigmas ``first_sigma`` … ``first_sigma + count - 1`` and the stage-1 bound ``b1``.
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

    The polynomials are those of the leading coefficients with indices ``first`` … ``first + count - 1``.
    """

    target: BigInt
    parameters: dict[str, int]
    """The sieve's parameters, all of them: the engine's table of defaults may change meanwhile."""
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
    """Return the kind of a piece of work, as messages, metrics and logs name it."""
    return kind_named(type(work))


def kind_named(work: type[Work]) -> str:
    """Return the kind of a class of work."""
    return str(work.__struct_config__.tag)


class Unit(Versioned, frozen=True, kw_only=True):
    """A message to whichever worker is free. It is self-contained, deterministic and safe to run twice."""

    unit_id: str
    number: BigInt
    """The factorization that the unit belongs to."""
    work: Work

    @property
    def kind(self) -> str:
        """The kind of the work."""
        return kind_of(self.work)


class Fault(enum.StrEnum):
    """Why a unit gave no result. Each fault has a budget of its own."""

    CRASH = "crash"
    """The child process died."""
    TIMEOUT = "timeout"
    """It ran past its wall-clock limit."""
    MEMORY = "memory"
    """It exceeded its memory limit."""
    WRONG = "wrong"
    """It returned something that is not true."""
    UNDELIVERED = "undelivered"
    """The broker gave up delivering it, because workers kept dying while they had it."""


class Failure(msgspec.Struct, frozen=True):
    """What went wrong with one attempt, described for an operator."""

    fault: Fault
    detail: str


class Sieved(msgspec.Struct, frozen=True):
    """What a sieve unit found. The relations themselves are in the store."""

    indices: int
    """Leading coefficients that were sieved completely."""
    full: int
    """Relations without a large prime."""
    partial: int
    """Relations with one or two large primes."""


class Counted(msgspec.Struct, frozen=True):
    """What a solve unit counted that found too few relations to solve."""

    usable: int
    """Independent relations and cycles in the batches that passed verification."""
    needed: int
    refused: dict[str, str] = {}
    """Units whose batches were refused, each with the reason."""


class Outcome(Versioned, frozen=True, kw_only=True):
    """What a worker reports for a finished unit.

    ``pieces`` is a decomposition of the unit's target (their product is the target), or empty if
    nothing new was found. ``curves`` counts the curves that were run.
    """

    unit_id: str
    worker_id: str = ""
    pieces: tuple[Piece, ...] = ()
    curves: int = 0
    sieved: Sieved | None = None
    counted: Counted | None = None
    cpu_seconds: float = 0.0
    slowness: float = 1.0
    """CPU seconds that the worker's machine takes for one CPU second of the reference machine."""
    failure: Failure | None = None
