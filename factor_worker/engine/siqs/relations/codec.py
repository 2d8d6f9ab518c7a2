"""Batches of relations as bytes: coordinates and factor lists, in columns, compressed.

A relation is named by its a-index, the number of its polynomial and its position. Its factor list
leaves out what these imply: 4 and the primes of a. Layout, little-endian: a version byte, then a zstd frame
with the column lengths (uint32: a's, relations, factors, large primes) and the columns, each as
planes of bytes (all lowest bytes, then all next ones): like bytes stand together and compress.
"""

import struct
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import zstandard
from numba import njit

from factor_worker.engine.siqs.words.arrays import Ids, Index

VERSION: Final = 1
LEVEL: Final = 3
"""Higher levels take longer than they save."""
LARGEST: Final = 1 << 27
"""Bytes that a batch may have when it is decompressed."""
_HEADER: Final = struct.Struct("<4I")


class Malformed(ValueError):
    """The bytes are not a batch that this version can read."""


class Coordinates(NamedTuple):
    """Relations as they travel; nothing here has been checked against the number."""

    indices: Index
    """int64[g]: a-indices, in the order in which they were sieved."""
    counts: Index
    """int64[g]: how many relations each of them gave."""
    numbers: Ids
    """uint32[m]: which polynomial of its a."""
    positions: Ids
    """uint32[m]: x + M."""
    lengths: Index
    """int64[m]: how many factors."""
    factors: Ids
    """uint32[f]: indices of the prime factors of Q(x), ascending within a relation."""
    large: npt.NDArray[np.uint64]
    """uint64[m, 2]: large primes, ascending, 1 for none."""


def encode(relations: Coordinates) -> bytes:
    """Return relations as bytes."""
    large = relations.large.ravel()
    columns = (
        _planes(relations.indices, 8),
        _planes(relations.counts, 4),
        _planes(relations.numbers, 2),
        _planes(relations.positions, 4),
        _planes(relations.lengths, 1),
        _planes(_steps(relations.lengths, relations.factors), 3),
        _planes(np.count_nonzero(relations.large > 1, axis=1), 1),
        _planes(large[large > 1], 4),
    )
    header = _HEADER.pack(
        len(relations.indices),
        len(relations.numbers),
        len(relations.factors),
        np.count_nonzero(large > 1),
    )
    packed = zstandard.ZstdCompressor(level=LEVEL).compress(header + b"".join(columns))
    return bytes((VERSION,)) + packed


def decode(data: bytes) -> Coordinates:
    """Return the relations that `encode` wrote.

    Raises:
        Malformed: the bytes are anything else.
    """
    reader = _Reader(_decompressed(data))
    a_count, count, factor_count, large_count = reader.header
    indices = reader.column(a_count, 8, np.int64)
    counts = reader.column(a_count, 4, np.int64)
    numbers = reader.column(count, 2, np.uint32)
    positions = reader.column(count, 4, np.uint32)
    lengths = reader.column(count, 1, np.int64)
    steps = reader.column(factor_count, 3, np.uint32)
    partners = reader.column(count, 1, np.int64)
    primes = reader.column(large_count, 4, np.uint64)
    reader.finish()
    if (
        int(counts.sum()) != count
        or int(lengths.sum()) != factor_count
        or int(partners.sum()) != large_count
        or (count and int(partners.max()) > 2)  # noqa: PLR2004
    ):
        raise Malformed("the columns of the batch do not fit together")
    large = np.ones((count, 2), dtype=np.uint64)
    large[partners == 1, 1] = primes[np.repeat(partners, partners) == 1]
    large[partners == 2] = primes[np.repeat(partners, partners) == 2].reshape(-1, 2)  # noqa: PLR2004
    factors = _sums(lengths, steps)
    return Coordinates(indices, counts, numbers, positions, lengths, factors, large)


def _decompressed(data: bytes) -> bytes:
    if data[:1] != bytes((VERSION,)):
        raise Malformed(f"the batch is not of version {VERSION}")
    try:
        size = zstandard.get_frame_parameters(data[1:]).content_size
        if size > LARGEST:
            raise Malformed(f"the batch would have more than {LARGEST} bytes")
        return zstandard.ZstdDecompressor().decompress(data[1:], allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Malformed(f"the batch cannot be decompressed: {error}") from error


class _Reader:
    """Takes columns off decompressed bytes."""

    def __init__(self, data: bytes) -> None:
        if len(data) < _HEADER.size:
            raise Malformed("the batch has no header")
        self.header = _HEADER.unpack_from(data)
        self._data = np.frombuffer(data, dtype=np.uint8)[_HEADER.size :]

    def column(self, count: int, width: int, kind: type[np.generic]) -> npt.NDArray[Any]:
        if len(self._data) < count * width:
            raise Malformed("the batch is cut short")
        planes = self._data[: count * width].reshape(width, count)
        self._data = self._data[count * width :]
        wide = np.zeros((count, 8), dtype=np.uint8)
        wide[:, :width] = planes.T
        return wide.view("<u8").ravel().astype(kind)

    def finish(self) -> None:
        if len(self._data):
            raise Malformed("the batch is longer than it says")


def _planes(column: npt.NDArray[Any], width: int) -> bytes:
    wide = column.astype("<u8").view(np.uint8).reshape(-1, 8)
    return wide[:, :width].T.tobytes()


@njit(cache=True)
def _steps(lengths: Index, factors: Ids) -> Ids:
    """Return each relation's first factor, and from there the differences."""
    steps = factors.copy()
    start = 0
    for length in lengths:
        for place in range(start + 1, start + length):
            steps[place] = factors[place] - factors[place - 1]
        start += length
    return steps


@njit(cache=True)
def _sums(lengths: Index, steps: Ids) -> Ids:
    """Undo `_steps`."""
    factors = steps.copy()
    start = 0
    for length in lengths:
        for place in range(start + 1, start + length):
            factors[place] = factors[place - 1] + steps[place]
        start += length
    return factors


@njit(cache=True)
def ascending(lengths: Index, factors: Ids) -> Ids:
    """Return the factors of each relation in ascending order."""
    ordered = factors.copy()
    start = 0
    for length in lengths:
        for place in range(start + 1, start + length):
            factor, at = ordered[place], place
            while at > start and ordered[at - 1] > factor:
                ordered[at] = ordered[at - 1]
                at -= 1
            ordered[at] = factor
        start += length
    return ordered
