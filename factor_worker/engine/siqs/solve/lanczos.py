"""Block Lanczos over GF(2): dependencies of a large sparse matrix.

Theory of operation
-------------------
Let B have a line for each prime and a column for each relation-set; we want vectors z with Bz = 0. Lanczos
solves systems with a symmetric matrix, so it works on A = BᵀB, which is never formed: A·V is two passes
over the entries of B (`_Matrix.normal`). A block of 64 vectors is an array of words, one vector in each bit
(`Words`), so a pass handles 64 vectors for the price of one.

Start from random Y and V₀ = AY. The iteration (`_iterate`) builds blocks V₁, V₂, … and takes from each Vᵢ
a subspace Wᵢ that is A-orthogonal to all others. Over GF(2) a vector can be orthogonal to itself, so not
every column of Vᵢ is usable: Sᵢ selects columns on which VᵢᵀAVᵢ is invertible (`_select`), the inverse is
Mᵢ, and columns left out must be selected next time. Because A is symmetric, each new block needs only
the three before it; the coefficient matrices are D, E and F of the paper. Meanwhile X = ∑ VᵢMᵢVᵢᵀV₀ is
summed up. It takes about height/64 iterations until a block V_m has V_mᵀAV_m = 0.

Then A(X - Y) = 0 except for a part in the space of V_m, and the 128 vectors of X - Y and V_m have about
64 combinations with Bz = 0. A small Gaussian elimination on their images under B finds them (`_combined`).

Two things speed up the products. The fullest lines of B are kept as bit matrices, 64 lines to a block, and
multiplied with tables of 256 entries per byte. The rest is stored both by line and by column, so that both
products gather and none scatters. Lanczos breaks down now and then; the caller tries another seed.

Formulae, the choice of Sᵢ and names are those of Montgomery, "A block Lanczos algorithm for finding
dependencies over GF(2)" (Eurocrypt '95).
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from factor_worker.engine.siqs.solve.sparse import WORD_BITS, Rows, take, transpose
from factor_worker.engine.siqs.words.arrays import Index, Words

DENSE_SHARE: Final = 0.05
"""64 lines of which this share is ones, on average, are cheaper as a bit matrix than as lists."""
ALL_COLUMNS: Final = np.uint64(0xFFFFFFFFFFFFFFFF)

Report = Callable[[int, int], None]
"""Called with the number of rows dealt with, and of all rows."""


class Breakdown(ArithmeticError):
    """The iteration broke down, as it does now and then: try again with another seed."""


class _Matrix(NamedTuple):
    """B both ways round, with its fullest lines as bits, 64 to a block."""

    by_set: Rows
    by_prime: Rows
    blocks: tuple[Words, ...]
    """For each block uint64[sets]: which of its 64 primes a set has."""

    def times(self, vectors: Words) -> tuple[Words, list[Words]]:
        """Return B·V in two parts: the lines that are lists, and the 64 lines of each block."""
        listed = _gather(self.by_prime, vectors)
        return listed, [_inner(block, vectors) for block in self.blocks]

    def normal(self, vectors: Words) -> Words:
        """Return A·V = Bᵀ(B·V)."""
        listed, dense = self.times(vectors)
        result = _gather(self.by_set, listed)
        for block, lines in zip(self.blocks, dense, strict=True):
            _add_product(block, lines, result)
        return result


def dependencies(rows: Rows, columns: int, *, seed: int, report: Report) -> Words:
    """Return up to 64 independent dependencies, sets of rows that sum to zero: uint64[rows.height].

    Bit i of word j says whether row j belongs to dependency i. The matrix should be merged, or at least
    have no column with a single entry: two such columns in one row are equal lines of B, and for each
    dependency between lines A has a kernel vector that B does not have. `report` is called after each
    iteration. The same seed gives the same dependencies.

    Raises:
        Breakdown: this seed gives no dependencies.
    """
    matrix = _matrix(rows, columns)
    random = np.random.default_rng(seed)
    start = random.integers(0, 1 << 64, size=rows.height, dtype=np.uint64)
    solution, last = _iterate(matrix, start, report)
    return _combined(matrix, solution ^ start, last)


def _matrix(rows: Rows, columns: int) -> _Matrix:
    by_prime = transpose(rows, columns)
    lengths = by_prime.lengths
    heaviest = np.argsort(-lengths, kind="stable")
    heaviest = heaviest[: int(np.count_nonzero(lengths))]
    blocks = 0
    while (
        lengths[heaviest[WORD_BITS * blocks : WORD_BITS * (blocks + 1)]].sum()
        >= DENSE_SHARE * WORD_BITS * rows.height
    ):
        blocks += 1
    listed = take(by_prime, heaviest[WORD_BITS * blocks :])
    return _Matrix(
        transpose(listed, rows.height),
        listed,
        tuple(
            _bits(
                take(by_prime, heaviest[WORD_BITS * block : WORD_BITS * (block + 1)]), rows.height
            )
            for block in range(blocks)
        ),
    )


def _bits(lines: Rows, width: int) -> Words:
    words = np.zeros(width, dtype=np.uint64)
    for line in range(lines.height):
        words[lines.row(line)] |= np.uint64(1 << line)
    return words


def _iterate(matrix: _Matrix, start: Words, report: Report) -> tuple[Words, Words]:
    """Return X and the last block V_m, for which V_mᵀAV_m = 0."""
    count = len(start)
    solution = np.zeros(count, dtype=np.uint64)
    v = v0 = matrix.normal(start)
    v1 = v2 = np.zeros(count, dtype=np.uint64)
    nothing = np.zeros(WORD_BITS, dtype=np.uint64)
    inverse1 = inverse2 = nothing
    f_factor = nothing
    mask1 = ALL_COLUMNS
    done = 0
    while True:
        av = matrix.normal(v)
        vav = _inner(v, av)
        if not vav.any():
            return solution, v
        va2v = _inner(av, av)
        inverse, chosen = _select(vav, mask1)
        mask = np.uint64(chosen)
        if not mask or mask | mask1 != ALL_COLUMNS:
            raise Breakdown
        # D, E and F of the paper, section 6; masking columns multiplies by SSᵀ.
        common = (va2v & mask) ^ vav
        d = _times(inverse, common) ^ _identity()
        e = _times(inverse1, vav & mask)
        f = _times(inverse2, f_factor & mask)
        following = av & mask
        _add_product(v, d, following)
        _add_product(v1, e, following)
        _add_product(v2, f, following)
        _add_product(v, _times(inverse, _inner(v, v0)), solution)
        f_factor = _times(_identity() ^ _times(vav, inverse), common)
        v2, v1, v = v1, v, following
        inverse2, inverse1, mask1 = inverse1, inverse, mask
        done += int(mask).bit_count()
        if done > count + WORD_BITS:
            raise Breakdown
        report(min(done, count), count)


def _combined(matrix: _Matrix, first: Words, last: Words) -> Words:
    """Return independent combinations z of the 128 vectors with Bz = 0, at most 64.

    The vectors become rows of bits, each beside its image under B. Gaussian elimination on the images
    leaves combinations whose image is zero.
    """
    vectors = np.concatenate((_as_rows(first), _as_rows(last)))
    images = np.concatenate([_as_rows(_image(matrix, block)) for block in (first, last)])
    rank = _reduce(images, vectors)
    kernel = vectors[rank:]
    kernel = kernel[: _reduce(kernel, kernel[:, :0])][:WORD_BITS]
    return _as_words(kernel, len(first))


def _image(matrix: _Matrix, vectors: Words) -> Words:
    listed, dense = matrix.times(vectors)
    return np.concatenate([listed, *dense])


def _as_rows(words: Words) -> npt.NDArray[np.uint8]:
    """Turn 64 vectors, one to a bit, into 64 rows of packed bits."""
    bits = np.unpackbits(words.view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
    return np.packbits(bits.T, axis=1, bitorder="little")


def _as_words(rows: npt.NDArray[np.uint8], count: int) -> Words:
    bits = np.zeros((count, WORD_BITS), dtype=np.uint8)
    bits[:, : len(rows)] = np.unpackbits(rows, axis=1, count=count, bitorder="little").T
    return np.packbits(bits, axis=1, bitorder="little").view(np.uint64).ravel()


def _reduce(rows: npt.NDArray[np.uint8], along: npt.NDArray[np.uint8]) -> int:
    """Bring rows of packed bits into echelon form in place, doing the same to `along`; return the rank."""
    rank = 0
    while rank < len(rows):
        remaining = rows[rank:]
        filled = np.flatnonzero(remaining.any(axis=0))
        if not len(filled):
            break
        byte = filled[0]
        bit = np.uint8(1 << (int(np.bitwise_or.reduce(remaining[:, byte])).bit_length() - 1))
        having = rank + np.flatnonzero(remaining[:, byte] & bit)
        pivot = having[0]
        for table in (rows, along):
            table[having[1:]] ^= table[pivot]
            table[[rank, pivot]] = table[[pivot, rank]]
        rank += 1
    return rank


def _identity() -> Words:
    return np.uint64(1) << np.arange(WORD_BITS, dtype=np.uint64)


def _times(left: Words, right: Words) -> Words:
    """Return the product of two 64 by 64 matrices; word r is row r."""
    result = np.zeros(WORD_BITS, dtype=np.uint64)
    _add_product(left, right, result)
    return result


@njit(cache=True)
def _gather(rows: Rows, vectors: Words) -> Words:
    """Return for each row the sum of the words at its columns: the sparse matrix times 64 vectors."""
    result = np.empty(len(rows.offsets) - 1, np.uint64)
    for row in range(len(result)):
        entries = rows.columns[rows.offsets[row] : rows.offsets[row + 1]]
        total = np.uint64(0)
        for entry in range(np.uint64(len(entries))):
            total ^= vectors[entries[entry]]
        result[row] = total
    return result


@njit(cache=True)
def _inner(left: Words, right: Words) -> Words:
    """Return the inner product leftᵀ·right, 64 by 64.

    For each byte of the left words, right words are summed by the byte's value, and those sums by bit.
    """
    sums = np.zeros((8, 256), np.uint64)
    for index in range(np.uint64(len(left))):
        word, other = left[index], right[index]
        for byte in range(8):
            sums[byte, (word >> np.uint64(8 * byte)) & np.uint64(255)] ^= other
    result = np.zeros(64, np.uint64)
    for byte in range(8):
        for value in range(256):
            for bit in range(8):
                if value >> bit & 1:
                    result[8 * byte + bit] ^= sums[byte, value]
    return result


@njit(cache=True)
def _add_product(vectors: Words, matrix: Words, result: Words) -> None:
    """Add vectors·matrix (n by 64 times 64 by 64) to the result, with a table of 256 for each byte."""
    table = np.zeros((8, 256), np.uint64)
    for byte in range(8):
        for value in range(1, 256):
            low = value & -value
            bit = 0
            while low >> bit != 1:
                bit += 1
            table[byte, value] = table[byte, value ^ low] ^ matrix[8 * byte + bit]
    for index in range(np.uint64(len(vectors))):
        word = vectors[index]
        total = np.uint64(0)
        for byte in range(8):
            total ^= table[byte, (word >> np.uint64(8 * byte)) & np.uint64(255)]
        result[index] ^= total


@njit(cache=True)
def _select(symmetric: Words, before: np.uint64) -> tuple[Words, np.uint64]:
    """Select columns S on which the matrix T = VᵀAV is invertible, trying those left out before first.

    Return M = S(SᵀTS)⁻¹Sᵀ and S as a mask (section 8 of the paper); `before` is the previous mask.
    """
    left = symmetric.copy()
    right = np.uint64(1) << np.arange(64).astype(np.uint64)
    order = np.empty(64, np.int64)
    at = 0
    for wanted in range(2):
        for column in range(64):
            if (before >> np.uint64(column)) & np.uint64(1) == np.uint64(wanted):
                order[at] = column
                at += 1
    mask = np.uint64(0)
    for step in range(64):
        column = order[step]
        bit = np.uint64(1) << np.uint64(column)
        if _pivot(left, right, order, step, bit):
            mask |= bit
        else:
            _pivot(right, left, order, step, bit)
            left[column] = 0
            right[column] = 0
    return right, mask


@njit(cache=True)
def _pivot(tested: Words, other: Words, order: Index, step: int, bit: np.uint64) -> bool:
    """Bring a row that has this bit to the step's place and clear the bit elsewhere; False if none has."""
    column = order[step]
    for index in range(step, 64):
        row = order[index]
        if tested[row] & bit:
            tested[row], tested[column] = tested[column], tested[row]
            other[row], other[column] = other[column], other[row]
            for target in range(64):
                if target != column and tested[target] & bit:
                    tested[target] ^= tested[column]
                    other[target] ^= other[column]
            return True
    return False


def warm() -> None:
    """Compile, or load from the cache, everything in this module."""
    words = np.zeros(WORD_BITS, dtype=np.uint64)
    _gather(Rows(np.zeros(2, dtype=np.int64), np.zeros(0, dtype=np.uint32)), words)
    _inner(words, words)
    _add_product(words, words, words.copy())
    _select(words, ALL_COLUMNS)
