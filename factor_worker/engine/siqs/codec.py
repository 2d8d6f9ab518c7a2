"""The bytes that a batch of relations travels and is stored in.

A header of one version byte and the number of relations, then column after column, compressed with
zstd: a-index less the unit's first, polynomial, position in the interval, number of factors, large
primes, and the factors of all relations, little-endian. The primes of a are left out of the factors.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import zstandard

VERSION: Final = 1
LEVEL: Final = 3
MOST_BYTES: Final = 1 << 28
"""Bound of what is decompressed."""
U32 = npt.NDArray[np.uint32]


class BadData(ValueError):
    """The bytes are not a batch of relations."""


class Columns(NamedTuple):
    """A batch as arrays."""

    first: int
    families: U32
    """a-index of each relation, less `first`."""
    polynomials: U32
    positions: U32
    lengths: U32
    large: U32
    """uint32[m, 2]."""
    factors: U32


def encode(columns: Columns) -> bytes:
    """Return a batch as bytes."""
    parts = [np.array([columns.first, len(columns.positions)], dtype="<u8").tobytes()]
    parts += [np.ascontiguousarray(one, dtype="<u4").tobytes() for one in columns[1:]]
    return bytes([VERSION]) + zstandard.compress(b"".join(parts), LEVEL)


def columns(data: bytes) -> Columns:
    """Return a batch's columns.

    Raises:
        BadData: the bytes are no batch.
    """
    if not data or data[0] != VERSION:
        raise BadData("not a batch of this version")
    try:
        size = zstandard.get_frame_parameters(data[1:]).content_size
        if not 16 <= size <= MOST_BYTES:
            raise BadData(f"a batch of {size} bytes")
        raw = zstandard.decompress(data[1:], max_output_size=MOST_BYTES)
    except zstandard.ZstdError as error:
        raise BadData(f"not compressed by zstd: {error}") from error
    first, count = (int(one) for one in np.frombuffer(raw[:16], dtype="<u8"))
    if (len(raw) - 16) % 4 or count > len(raw) // 24:
        raise BadData("columns are cut off")
    values = np.frombuffer(raw[16:], dtype="<u4").astype(np.uint32)
    lengths = values[3 * count : 4 * count]
    if len(values) != 6 * count + int(lengths.sum(dtype=np.uint64)):
        raise BadData("columns of different lengths")
    return Columns(
        first,
        values[:count],
        values[count : 2 * count],
        values[2 * count : 3 * count],
        lengths,
        values[4 * count : 6 * count].reshape(count, 2),
        values[6 * count :],
    )


def large_primes(data: bytes) -> npt.NDArray[np.uint64]:
    """Return the large primes of a batch, uint64[m, 2], 1 for none.

    Raises:
        BadData: the bytes are no batch.
    """
    return columns(data).large.astype(np.uint64)
