"""Linear algebra over GF(2) as in a textbook, on Python integers: the oracle for the kernels."""

from collections.abc import Iterable, Sequence

import numpy as np

from factor_worker.engine.siqs.solve.sparse import Rows, from_lengths
from factor_worker.engine.siqs.words.arrays import Words


def rows_of(lists: Sequence[Iterable[int]]) -> Rows:
    """Return lists of columns as a matrix."""
    columns = [list(one) for one in lists]
    lengths = np.array([len(one) for one in columns], dtype=np.int64)
    flat = [column for one in columns for column in one]
    return Rows(from_lengths(lengths), np.array(flat, dtype=np.uint32))


def as_numbers(rows: Rows) -> list[int]:
    """Return each row as a number with a bit for each column; a column that occurs twice cancels."""
    numbers = []
    for index in range(rows.height):
        number = 0
        for column in rows.row(index).tolist():
            number ^= 1 << column
        numbers.append(number)
    return numbers


def rank(numbers: Iterable[int]) -> int:
    """Return the rank of the numbers as vectors of bits."""
    by_top: dict[int, int] = {}
    for number in numbers:
        rest = number
        while rest and (top := rest.bit_length()) in by_top:
            rest ^= by_top[top]
        if rest:
            by_top[top] = rest
    return len(by_top)


def combinations(words: Words) -> list[int]:
    """Return the nonempty combinations, each as a number with a bit for each row."""
    numbers = [0] * 64
    for index, word in enumerate(words.tolist()):
        for bit in range(64):
            numbers[bit] |= (word >> bit & 1) << index
    return [number for number in numbers if number]


def total(numbers: Sequence[int], combination: int) -> int:
    """Return the sum of the numbers that belong to a combination."""
    result = 0
    for index, number in enumerate(numbers):
        if combination >> index & 1:
            result ^= number
    return result


def random_rows(count: int, columns: int, weight: float, seed: int) -> Rows:
    """Return rows like those of a sieve: column c occurs with a probability of about 1/c."""
    random = np.random.default_rng(seed)
    chances = 1 / (np.arange(columns) + 3.0)
    chances *= weight / chances.sum()
    return rows_of([np.flatnonzero(random.random(columns) < chances) for _ in range(count)])
