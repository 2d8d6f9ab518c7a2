"""A stored batch of relations: which polynomials they come from, and the engine's packed bytes."""

import struct
from typing import NamedTuple, Self

from common import errors

_HEADER = struct.Struct(">QQ")


class RelationBatch(NamedTuple):
    """The relations that one sieve unit found with leading coefficients ``first`` … ``first + size - 1``."""

    first: int
    size: int
    data: bytes

    def pack(self) -> bytes:
        """Return the batch as bytes for the store."""
        return _HEADER.pack(self.first, self.size) + self.data

    @classmethod
    def unpack(cls, stored: bytes) -> Self:
        """Read what :meth:`pack` wrote.

        Raises:
            errors.Malformed: It is too short to be a batch.

        """
        if len(stored) < _HEADER.size:
            raise errors.Malformed(what="batch", why=f"{len(stored)} bytes are too few")
        first, size = _HEADER.unpack_from(stored)
        return cls(first, size, bytes(stored[_HEADER.size :]))
