"""The codec of relation batches: coordinates and factor lists, column by column, compressed.

A relation is identified by its a-index, the number of its polynomial and its position. Its factor list
leaves out what these imply: 4 and the primes of a. Layout, little-endian: a version byte, then a zstd frame
with the column lengths (uint32: a's, relations, factors, large primes) and the columns. A column is stored
in byte planes (all lowest bytes, then all next ones), so that similar bytes are neighbours and compress.
Relations take 17 to 25 bytes each.
"""

import struct
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import zstandard
from numba import njit

from factor_worker.engine.siqs.words.arrays import Ids, Index, Limbs

VERSION: Final = 1
COMPRESSION_LEVEL: Final = 3
"""Of zstd: higher levels take more time than the bytes that they save are worth."""
SIZE_LIMIT: Final = 1 << 27
"""The most bytes that a batch may decompress to."""
_HEADER: Final = struct.Struct("<4I")


class Malformed(ValueError):
    """The bytes are not a batch that this version can read."""


class Coordinates(NamedTuple):
    """The columns of a batch; nothing in them has been checked against the number."""

    a_indices: Index
    """int64[g]: a-indices, in the order in which they were sieved."""
    relation_counts: Index
    """int64[g]: how many relations each of them gave."""
    polynomials: Ids
    """uint32[m]: which polynomial of its a."""
    positions: Ids
    """uint32[m]: x + M."""
    factor_counts: Index
    """int64[m]: how many factors are listed."""
    factors: Ids
    """uint32[f]: indices of the prime factors of Q(x), ascending within a relation."""
    large_primes: Limbs
    """uint64[m, 2]: large primes in ascending order, 1 for none."""


def encode(relations: Coordinates) -> bytes:
    """Return a batch of relations as bytes."""
    large = relations.large_primes.ravel()
    columns = (
        _planes(relations.a_indices, 8),
        _planes(relations.relation_counts, 4),
        _planes(relations.polynomials, 2),
        _planes(relations.positions, 4),
        _planes(relations.factor_counts, 1),
        _planes(_differences(relations.factor_counts, relations.factors), 3),
        _planes(np.count_nonzero(relations.large_primes > 1, axis=1), 1),
        _planes(large[large > 1], 4),
    )
    header = _HEADER.pack(
        len(relations.a_indices),
        len(relations.polynomials),
        len(relations.factors),
        np.count_nonzero(large > 1),
    )
    packed = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL).compress(header + b"".join(columns))
    return bytes((VERSION,)) + packed


def decode(data: bytes) -> Coordinates:
    """Return the columns of a batch that `encode` wrote.

    Raises:
        Malformed: the bytes are anything else; the message says in what way.
    """
    reader = _Reader(_decompressed(data))
    a_count, count, factor_count, large_count = reader.header
    a_indices = reader.column(a_count, 8, np.int64)
    relation_counts = reader.column(a_count, 4, np.int64)
    polynomials = reader.column(count, 2, np.uint32)
    positions = reader.column(count, 4, np.uint32)
    factor_counts = reader.column(count, 1, np.int64)
    differences = reader.column(factor_count, 3, np.uint32)
    large_counts = reader.column(count, 1, np.int64)
    primes = reader.column(large_count, 4, np.uint64)
    reader.finish()
    if (
        int(relation_counts.sum()) != count
        or int(factor_counts.sum()) != factor_count
        or int(large_counts.sum()) != large_count
        or (count and int(large_counts.max()) > 2)  # noqa: PLR2004
    ):
        raise Malformed("the columns of the batch do not fit together")
    large = np.ones((count, 2), dtype=np.uint64)
    large[large_counts == 1, 1] = primes[np.repeat(large_counts, large_counts) == 1]
    large[large_counts == 2] = primes[np.repeat(large_counts, large_counts) == 2].reshape(-1, 2)  # noqa: PLR2004
    factors = _from_differences(factor_counts, differences)
    return Coordinates(
        a_indices, relation_counts, polynomials, positions, factor_counts, factors, large
    )


def _decompressed(data: bytes) -> bytes:
    if data[:1] != bytes((VERSION,)):
        raise Malformed(f"the batch is not of version {VERSION}")
    try:
        size = zstandard.get_frame_parameters(data[1:]).content_size
        if size > SIZE_LIMIT:
            raise Malformed(f"the batch would have more than {SIZE_LIMIT} bytes")
        return zstandard.ZstdDecompressor().decompress(data[1:], allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Malformed(f"the batch cannot be decompressed: {error}") from error


class _Reader:
    """Reads one column after the other from decompressed bytes."""

    def __init__(self, data: bytes) -> None:
        if len(data) < _HEADER.size:
            raise Malformed("the batch has no header")
        self.header = _HEADER.unpack_from(data)
        self._data = np.frombuffer(data, dtype=np.uint8)[_HEADER.size :]

    def column(self, count: int, width: int, dtype: type[np.generic]) -> npt.NDArray[Any]:
        if len(self._data) < count * width:
            raise Malformed("the batch is cut short")
        planes = self._data[: count * width].reshape(width, count)
        self._data = self._data[count * width :]
        wide = np.zeros((count, 8), dtype=np.uint8)
        wide[:, :width] = planes.T
        return wide.view("<u8").ravel().astype(dtype)

    def finish(self) -> None:
        if len(self._data):
            raise Malformed("the batch is longer than it says")


def _planes(column: npt.NDArray[Any], width: int) -> bytes:
    wide = column.astype("<u8").view(np.uint8).reshape(-1, 8)
    return wide[:, :width].T.tobytes()


@njit(cache=True)
def _differences(factor_counts: Index, factors: Ids) -> Ids:
    """Return for each relation its first factor, then the differences of successive ones."""
    differences = factors.copy()
    start = 0
    for length in factor_counts:
        for place in range(start + 1, start + length):
            differences[place] = factors[place] - factors[place - 1]
        start += length
    return differences


@njit(cache=True)
def _from_differences(factor_counts: Index, differences: Ids) -> Ids:
    """Return the factors whose differences these are: the inverse of `_differences`."""
    factors = differences.copy()
    start = 0
    for length in factor_counts:
        for place in range(start + 1, start + length):
            factors[place] = factors[place - 1] + differences[place]
        start += length
    return factors


@njit(cache=True)
def ascending(factor_counts: Index, factors: Ids) -> Ids:
    """Return the factors of each relation in ascending order."""
    ordered = factors.copy()
    start = 0
    for length in factor_counts:
        for place in range(start + 1, start + length):
            factor, at = ordered[place], place
            while at > start and ordered[at - 1] > factor:
                ordered[at] = ordered[at - 1]
                at -= 1
            ordered[at] = factor
        start += length
    return ordered
