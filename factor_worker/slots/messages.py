"""What a worker and its child say to each other, and what the worker believes.

A child runs native code on the numbers of strangers, so it may have been taken over. What it sends is
therefore never executed (no pickles), never read beyond the size that an answer of its kind can have, decoded
as the one type that is expected, and then compared with the question. See docs/adr/0015.

Each message is MessagePack, preceded by its length. A child greets its worker with a `Greeting`. After that
it is asked one `Question` at a time, and it answers each work of the question with one message.
"""

import math
import struct
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec

from common.domain import (
    BigInt,
    Certainty,
    Curves,
    Failure,
    Fault,
    Piece,
    RelationBatch,
    Sieve,
    Sieved,
    Solve,
    Work,
)
from common.domain.codec import decode_hook, encode_hook
from factor_worker.engine import verify
from factor_worker.slots.compute import Result

LENGTH: Final = struct.Struct("!Q")
"""The length of a message in bytes."""
SMALL_BYTES: Final = 256 << 10
"""The largest answer that is a decomposition. The divisors of the largest number that is accepted fit."""
LARGE_BYTES: Final = 16 << 20
"""The largest answer that contains relations: what a store keeps in one document."""
LONGEST_DETAIL: Final = 2000
"""Characters of what a child says about an error."""
CHECKED_BITS: Final = 1000
"""The worker tests the primality of divisors up to this size itself: that takes milliseconds at most. Larger
ones are called `probable` by everybody, or are proven by units of their own."""


T = TypeVar("T")


class Greeting(msgspec.Struct, frozen=True):
    """A child is ready."""

    slowness: Annotated[float, msgspec.Meta(gt=0)]
    """Of this machine, as the fork server measured it."""


class Question(msgspec.Struct, frozen=True):
    """Works to be computed one after another."""

    works: tuple[Work, ...]
    batches: tuple[tuple[str, bytes], ...] = ()
    """The stored relations, for a `Solve`: (unit id, packed batch)."""


class Raised(msgspec.Struct, frozen=True, tag="raised"):
    """Computing a work raised an error."""

    fault: Literal["crash", "memory", "wrong"]
    detail: Annotated[str, msgspec.Meta(max_length=LONGEST_DETAIL)]
    cpu_seconds: float = 0.0

    @property
    def failure(self) -> Failure:
        """The same as a unit keeps it."""
        return Failure(Fault(self.fault), self.detail)


Answer = Result | Raised
"""To one work."""


class NotBelieved(ValueError):
    """A message from a child is not what was asked for, or cannot be true."""


def frame(message: msgspec.Struct) -> bytes:
    """Return a message as it is sent."""
    packed = msgspec.msgpack.encode(message, enc_hook=encode_hook)
    return LENGTH.pack(len(packed)) + packed


def read_question(packed: bytes) -> Question:
    """Return a question. Raises `NotBelieved` if it is none."""
    return _read(_QUESTIONS, packed)


def read_greeting(packed: bytes) -> Greeting:
    """Return a greeting. Raises `NotBelieved` if it is none."""
    return _read(_GREETINGS, packed)


def read_answer(packed: bytes, work: Work) -> Answer:
    """Return the answer to a work, if it can be true.

    Raises:
        NotBelieved: It is no answer, or none to this work.

    """
    answer = _read(_ANSWERS, packed)
    _require(0 <= answer.cpu_seconds < math.inf, "its CPU time is no time")
    if isinstance(answer, Result):
        _check(answer, work)
    return answer


_QUESTIONS = msgspec.msgpack.Decoder(Question, dec_hook=decode_hook)
_GREETINGS = msgspec.msgpack.Decoder(Greeting)
_ANSWERS: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer, dec_hook=decode_hook)


def _read(decoder: msgspec.msgpack.Decoder[T], packed: bytes) -> T:
    try:
        return decoder.decode(packed)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise NotBelieved(str(error)) from error


class Inbox:
    """Puts together what a child says. It holds no more than the longest message that is expected."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._works: tuple[Work | None, ...] = (None,)
        """What is to be answered; None stands for the greeting."""
        self._said: list[Any] = []

    def expect(self, works: tuple[Work, ...]) -> None:
        """Expect an answer to each of these works, and nothing else. At first a greeting is expected."""
        self._works = works
        self._said = []

    def receive(self, data: bytes) -> list[Any] | None:
        """Take some bytes; return what was expected once it is complete.

        Raises:
            NotBelieved: It is something else, or more.

        """
        self._received += data
        while self._received:
            if len(self._said) == len(self._works):
                raise NotBelieved("it said something that it was not asked")
            packed = self._take(self._works[len(self._said)])
            if packed is None:
                return None
            self._said.append(packed)
        return self._said if len(self._said) == len(self._works) else None

    def _take(self, work: Work | None) -> Any:
        begin = LENGTH.size
        if len(self._received) < begin:
            return None
        [size] = LENGTH.unpack_from(self._received)
        most = largest_answer(work) if work is not None else SMALL_BYTES
        if size > most:
            raise NotBelieved(f"{size} bytes, where at most {most} can be needed")
        if len(self._received) < begin + size:
            return None
        packed = bytes(memoryview(self._received)[begin : begin + size])
        del self._received[: begin + size]
        return read_greeting(packed) if work is None else read_answer(packed, work)


def largest_answer(work: Work) -> int:
    """Return how many bytes the answer to a work may have."""
    return LARGE_BYTES if isinstance(work, Sieve | Solve) else SMALL_BYTES


def _check(result: Result, work: Work) -> None:
    """Refuse a result that does not answer the work, or whose figures are absurd."""
    most_curves = work.count if isinstance(work, Curves) else 0
    _require(0 <= result.curves <= most_curves, "it counts more curves than were asked for")
    _require(not result.pieces or not isinstance(work, Sieve), "a sieve unit finds no divisors")
    _require(result.counted is None or isinstance(work, Solve), "nothing was to be counted")
    _check_pieces(result.pieces, work.target)
    _check_relations(result, work)
    if result.counted is not None:
        _require(min(result.counted.usable, result.counted.needed) >= 0, "it counts below zero")


def _check_pieces(pieces: tuple[Piece, ...], target: BigInt) -> None:
    """Refuse pieces that are larger than the target; later their product can be computed without harm."""
    room = target.bit_length()
    for piece in pieces:
        _require(piece.value > 1 and piece.exponent > 0, "a piece is no divisor")
        room -= (piece.value.bit_length() - 1) * piece.exponent
        _require(room > 0, "its pieces are larger than the target")
    for piece in pieces:
        if piece.certainty is not Certainty.UNKNOWN and piece.value.bit_length() <= CHECKED_BITS:
            is_prime = verify.is_prime(piece.value)
            _require(is_prime is piece.certainty.prime, f"a piece is not {piece.certainty}")


def _check_relations(result: Result, work: Work) -> None:
    match work, result.sieved, result.batch:
        case _, None, None:
            return
        case Sieve(), Sieved() as found, RelationBatch() as batch:
            _require(0 <= found.indices <= work.count, "it sieved more than was asked for")
            fits = (batch.first, batch.size) == (work.first, found.indices)
            _require(fits, "its relations are of other polynomials")
            counts = min(found.full, found.partial), found.full + found.partial
            possible = counts[0] >= 0 and counts[1] <= len(batch.data)
            _require(possible, "it counts relations that are not there")
        case _:
            raise NotBelieved("these relations were not asked for")


def _require(holds: bool, otherwise: str) -> None:  # noqa: FBT001 the question itself
    if not holds:
        raise NotBelieved(otherwise)
