"""Verification: relations that came from elsewhere are what they claim to be, or are refused."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from factor_worker.engine.siqs import codec, factor_base, identities, limbs, polynomials
from factor_worker.engine.siqs.limbs import LIMBS, Limbs
from factor_worker.engine.siqs.parameters import BLOCK, Parameters


class BadBatch(ValueError):
    """A batch is not what it claims to be; the text says how."""


class Relations(NamedTuple):
    """Relations x² - kN = ± ∏ primes[factors]·large[0]·large[1]."""

    limbs: Limbs
    """uint64[m, LIMBS]: x ≥ 0, little-endian."""
    offsets: npt.NDArray[np.int64]
    """int64[m + 1]: where each relation's factors begin."""
    factors: npt.NDArray[np.uint32]
    """Indices into the factor base with multiplicity; 0 is -1."""
    large: npt.NDArray[np.uint64]
    """uint64[m, 2]: large primes, ascending, 1 for none."""

    @property
    def x(self) -> list[int]:
        """Return x of every relation."""
        data, width = self.limbs.astype("<u8", copy=False).tobytes(), 8 * LIMBS
        return [
            int.from_bytes(data[place : place + width], "little")
            for place in range(0, len(data), width)
        ]


def verify(n: int, parameters: Parameters, first: int, count: int, data: bytes) -> Relations:
    """Return the relations of a batch that claims to be from a's `first` to `first + count` - 1.

    Whatever the data are, a batch that passes has nothing but true relations of these a's over this
    factor base, with large primes under the bound. Memory is bounded by `codec.MOST_BYTES`.

    Raises:
        BadBatch: something is wrong with it.
    """
    try:
        columns = codec.columns(data)
    except codec.BadData as error:
        raise BadBatch(str(error)) from error
    if columns.first != first:
        raise BadBatch(f"it begins with a-index {columns.first}, not {first}")
    return check(n, parameters, columns, count)


def check(n: int, parameters: Parameters, batch: codec.Columns, count: int) -> Relations:
    """Return the relations of a batch that claims to be from `count` a's.

    Raises:
        BadBatch: something is wrong with it.
    """
    most = max(parameters.large_bound, 1)
    polynomials_ = 1 << (parameters.a_factors - 1)
    for what, column, bound in (
        ("a-index", batch.families, count),
        ("polynomial", batch.polynomials, polynomials_),
        ("position", batch.positions, parameters.blocks * BLOCK),
        ("factor", batch.factors, parameters.base),
        ("large prime", batch.large, most + 1),
    ):
        if column.size and int(column.max()) >= bound:
            raise BadBatch(f"{what} {column.max()} is not below {bound}")
    if (batch.large[:, 0] > batch.large[:, 1]).any() or (batch.large == 0).any():
        raise BadBatch("large primes are not ascending")
    families, numbers = _families(n, parameters, batch)
    kn = n * parameters.multiplier
    size = len(batch.positions)
    x = np.zeros((size, LIMBS), dtype=np.uint64)
    offsets = np.zeros(size + 1, dtype=np.int64)
    factors = np.empty(len(batch.factors) + size * parameters.a_factors, dtype=np.uint32)
    false = identities.check(
        limbs.from_int(kn, 2 * LIMBS),
        _primes(kn, parameters.base),
        families,
        batch._replace(families=numbers),
        x,
        offsets,
        factors,
    )
    if false != identities.NONE:
        raise BadBatch(f"relation {false} does not hold")
    return Relations(x, offsets, factors, batch.large.astype(np.uint64))


def _primes(kn: int, base: int) -> npt.NDArray[np.uint32]:
    return np.array([1, *factor_base.first(kn, base)[1:]], dtype=np.uint32)


def _families(
    n: int, parameters: Parameters, batch: codec.Columns
) -> tuple[identities.Families, npt.NDArray[np.uint32]]:
    """Return the a's that occur, and for each relation the number of its own.

    Raises:
        BadBatch: there are no such a's.
    """
    occurring, numbers = np.unique(batch.families, return_inverse=True)
    half = parameters.blocks * BLOCK // 2
    try:
        found = [
            polynomials.family(n, parameters, batch.first + index) for index in occurring.tolist()
        ]
    except IndexError as error:
        raise BadBatch(str(error)) from error
    size = parameters.a_factors
    return identities.Families(
        np.array([one.indices for one in found], dtype=np.uint32).reshape(-1, size),
        limbs.from_ints(2 * part for one in found for part in one.parts).reshape(-1, size, LIMBS),
        limbs.from_ints(one.a for one in found),
        limbs.from_ints(one.b(0) - one.a * half for one in found),
    ), numbers.astype(np.uint32)
