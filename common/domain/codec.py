"""Versioned JSON: how every domain value is stored and sent.

Unknown fields are ignored, so that a newer writer does not break an older reader. An unknown major
version is refused, because fields of the same name may mean something else in it.
"""

from collections.abc import Iterable
from typing import Any, ClassVar, Self, TypeVar

import msgspec

from common import errors

Number = TypeVar("Number", bound=int)


class BigInt(int):
    """An integer of any size, stored and sent as a decimal string.

    BSON stops at 64 bits and JavaScript at 2**53, so no such integer is ever a JSON number.

    It has no hash: Python's hash of an integer is its remainder modulo 2**61 - 1, so anybody can make up
    thousands of numbers that are all in one place of a dictionary. `key_of` is what a number is kept under.
    """

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]


def key_of(number: int) -> str:
    """Return what dictionaries and sets keep a client's number under; strings have a secret hash."""
    return str(int(number))


def distinct(numbers: Iterable[Number]) -> list[Number]:
    """Return the numbers without repetitions."""
    return [*{key_of(number): number for number in numbers}.values()]


def shortened(number: int) -> str:
    """Return a number for a message or a log line, with the middle left out if it is long."""
    digits = str(int(number))
    kept = 18
    return digits if len(digits) <= 2 * kept + 4 else f"{digits[:kept]}…{digits[-kept:]}"


def encode_hook(value: object) -> str:
    """Return a `BigInt` as it is written; msgspec calls this for what it does not know."""
    if isinstance(value, BigInt):
        return str(int(value))
    raise NotImplementedError(f"a {type(value).__name__} cannot be encoded")


def decode_hook(kind: type, value: object) -> object:
    """Read what `encode_hook` wrote."""
    if kind is BigInt and isinstance(value, str):
        return BigInt(value)
    raise ValueError(f"expected a decimal string, got {type(value).__name__}")


class Versioned(msgspec.Struct, frozen=True, kw_only=True):
    """A value with a codec; ``v`` is the major version of its layout."""

    VERSIONS: ClassVar[tuple[int, ...]] = (1,)
    """The layouts that are understood."""
    v: int = 1

    def encode(self) -> bytes:
        """Return the value as UTF-8 JSON."""
        return msgspec.json.encode(self, enc_hook=encode_hook)

    def to_document(self) -> dict[str, Any]:
        """Return the value as plain dicts, lists and strings, for a document store."""
        document: dict[str, Any] = msgspec.to_builtins(self, str_keys=True, enc_hook=encode_hook)
        return document

    @classmethod
    def decode(cls, data: bytes | str) -> Self:
        """Read what :meth:`encode` wrote.

        Raises:
            errors.UnknownVersion: The layout is of another major version.
            errors.Malformed: It is not such a value.

        """
        try:
            cls._check_version(msgspec.json.decode(data, type=_Envelope).v)
            return msgspec.json.decode(data, type=cls, dec_hook=decode_hook)
        except errors.UnknownVersion:
            raise
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError) as error:
            raise errors.Malformed(what=cls.__name__, why=str(error)) from error

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Self:
        """Read what :meth:`to_document` wrote; the errors are those of :meth:`decode`."""
        try:
            cls._check_version(msgspec.convert(document, type=_Envelope).v)
            return msgspec.convert(document, type=cls, strict=False, dec_hook=decode_hook)
        except errors.UnknownVersion:
            raise
        except (msgspec.ValidationError, ValueError) as error:
            raise errors.Malformed(what=cls.__name__, why=str(error)) from error

    @classmethod
    def _check_version(cls, version: int) -> None:
        if version not in cls.VERSIONS:
            raise errors.UnknownVersion(what=cls.__name__, got=version, known=max(cls.VERSIONS))


class _Envelope(msgspec.Struct):
    v: int
