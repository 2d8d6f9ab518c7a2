"""Verification: relations that came from elsewhere are what they claim to be, or are refused."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from factor_worker.engine.siqs import codec, factor_base, polynomials
from factor_worker.engine.siqs.parameters import BLOCK, Parameters


class BadBatch(ValueError):
    """A batch is not what it claims to be."""


class Relations(NamedTuple):
    """Relations x² - kN = ±∏ fb[factors]·large[0]·large[1]."""

    x: list[int]
    offsets: npt.NDArray[np.int64]
    factors: npt.NDArray[np.uint32]
    large: npt.NDArray[np.uint64]


def verify(n: int, parameters: Parameters, first: int, count: int, data: bytes) -> Relations:
    """Return the relations of a unit's batch.

    Raises:
        BadBatch: something is wrong with it.
    """
    try:
        columns = codec.columns(data)
    except codec.BadData as error:
        raise BadBatch(str(error)) from error
    if columns.first != first or (len(columns.families) and int(columns.families.max()) >= count):
        raise BadBatch("outside the unit")
    if len(columns.large) and (
        columns.large.max() > parameters.large_bound or (columns.large[:, 0] > columns.large[:, 1]).any()
    ):
        raise BadBatch("large primes")
    if len(columns.factors) and columns.factors.max() >= parameters.base:
        raise BadBatch("factors outside the base")
    kn = n * parameters.multiplier
    primes = factor_base.first(kn, parameters.base)
    half = parameters.blocks * BLOCK // 2
    ends = np.cumsum(columns.lengths, dtype=np.int64).tolist()
    flat = columns.factors.tolist()
    x, factors, offsets = [], [], [0]
    begin, known = 0, -1
    for index, polynomial, position, end, large in zip(
        columns.families.tolist(), columns.polynomials.tolist(), columns.positions.tolist(), ends,
        columns.large.tolist(), strict=True,
    ):
        if index != known:
            family, known = polynomials.family(n, parameters, first + index), index
        if polynomial >= family.polynomials or position >= 2 * half:
            raise BadBatch("outside")
        here = abs(family.a * (position - half) + family.b(polynomial))
        product = family.a * large[0] * large[1]
        for one in flat[begin:end]:
            product *= primes[one]
        if here * here - kn != product:
            raise BadBatch(f"identity {here * here - kn} {product} {polynomial} {position}")
        x.append(here)
        factors += flat[begin:end]
        factors += family.indices
        begin = end
        offsets.append(len(factors))
    return Relations(
        x, np.array(offsets), np.array(factors, dtype=np.uint32), columns.large.astype(np.uint64)
    )
