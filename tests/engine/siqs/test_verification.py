"""Batches survive encoding and decoding, and broken or false ones are refused."""

import math

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from factor_worker.engine.siqs.polynomials import factor_base, parameters
from factor_worker.engine.siqs.relations import codec, verification
from factor_worker.engine.siqs.relations.codec import Coordinates
from factor_worker.engine.siqs.sieve import unit
from factor_worker.engine.siqs.words import arithmetic
from tests.engine import examples

N = examples.P20 * examples.P25
CHOSEN = parameters.choose(N)._replace(cofactor_bound=10**11)


@pytest.fixture(scope="module")
def found() -> Coordinates:
    """Return the relations of a's 10 to 13."""
    return codec.decode(unit.sieve(N, CHOSEN, 10, 4).data)


def verify(found: Coordinates, first: int = 10, count: int = 4) -> verification.Relations:
    """Verify relations as if a worker had sent them."""
    return verification.verify(N, CHOSEN, first, count, codec.encode(found))


def test_verified_relations_hold_over_the_integers(found: Coordinates) -> None:
    """x² - kn = ± ∏ primes · large primes."""
    relations = verify(found)
    base = factor_base.primes(N, CHOSEN)
    rows = np.split(relations.factors, relations.offsets[1:-1])

    assert len(relations.x) == len(rows) > 100
    every = zip(
        arithmetic.to_integers(relations.x), rows, relations.large_primes.tolist(), strict=True
    )
    for x, factors, large in every:
        product = math.prod(base[one] for one in factors) * math.prod(large)
        assert x * x - N * CHOSEN.multiplier == product


def test_relations_survive_encoding_and_decoding(found: Coordinates) -> None:
    """Column by column."""
    again = codec.decode(codec.encode(found))

    for one, other in zip(found, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_empty_batch_is_valid(found: Coordinates) -> None:
    """A range of a-indices may have no relations."""
    none = codec.Coordinates._make(column[:0] for column in found)

    assert 0 == len(verify(none).x)


def changed(found: Coordinates, column: str, row: int, value: object) -> Coordinates:
    """Return relations with one entry changed."""
    values = getattr(found, column).copy()
    values[row] = value
    return found._replace(**{column: values})


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("polynomials", 1 << 12, "outside its range"),
        ("positions", CHOSEN.blocks * parameters.BLOCK, "outside its range"),
        ("large_primes", (1, CHOSEN.large_bound + 2), "large prime is outside"),
        ("large_primes", (1, 101), "large prime is outside"),
        ("large_primes", (20011, 10007), "large prime is outside"),
        ("large_primes", (1, 31 * 1009), "not prime"),
        ("large_primes", (1, 31013), "identity"),
    ],
)
def test_a_false_entry_is_refused(
    found: Coordinates, column: str, value: object, reason: str
) -> None:
    """Each with its own message."""
    with pytest.raises(verification.BadBatch, match=reason):
        verify(changed(found, column, 5, value))


@settings(deadline=None)
@given(st.data())
def test_any_other_position_is_refused(found: Coordinates, data: st.DataObject) -> None:
    """A relation holds at its own position only."""
    row = data.draw(st.integers(min_value=0, max_value=len(found.positions) - 1))
    old = int(found.positions[row])
    position = data.draw(st.integers(min_value=0, max_value=60000).filter(lambda at: at != old))

    with pytest.raises(verification.BadBatch):
        verify(changed(found, "positions", row, position))


@settings(deadline=None)
@given(st.data())
def test_any_other_factor_is_refused(found: Coordinates, data: st.DataObject) -> None:
    """Even one outside the factor base, which must not be used as an index."""
    row = data.draw(st.integers(min_value=0, max_value=len(found.factors) - 1))
    old = int(found.factors[row])
    factor = data.draw(st.integers(min_value=0, max_value=2**24 - 1).filter(lambda one: one != old))

    with pytest.raises(verification.BadBatch, match=r"identity|factor base"):
        verify(changed(found, "factors", row, factor))


@pytest.mark.parametrize(("first", "count"), [(0, 10), (11, 4), (10, 3), (10**9, 4)])
def test_relations_of_another_unit_are_refused(found: Coordinates, first: int, count: int) -> None:
    """They might be counted twice."""
    with pytest.raises(verification.BadBatch, match="outside the unit"):
        verify(found, first, count)


def test_an_a_index_that_does_not_exist_is_refused(found: Coordinates) -> None:
    """Even if the unit asked for it."""
    with pytest.raises(verification.BadBatch, match="no such a-index"):
        verify(found._replace(a_indices=found.a_indices + 10**15), 10**15, 100)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "version"),
        (b"\x02abc", "version"),
        (b"\x01abc", "decompressed"),
        (b"\x01" + zstandard.compress(b"abc"), "no header"),
        (b"\x01" + zstandard.compress(bytes([1, 0, 0, 0]) + bytes(12)), "cut short"),
        (b"\x01" + zstandard.compress(bytes(17)), "longer than it says"),
        (b"\x01" + zstandard.compress(bytes([255] * 16) + bytes(10**6)), "cut short"),
        (b"\x01" + zstandard.compress(bytes(codec.SIZE_LIMIT + 1)), "more than"),
    ],
)
def test_malformed_bytes_are_refused(data: bytes, reason: str) -> None:
    """Before they are decompressed to anything large."""
    with pytest.raises(verification.BadBatch, match=reason):
        verification.verify(N, CHOSEN, 0, 1, data)


def test_columns_that_contradict_each_other_are_refused(found: Coordinates) -> None:
    """The counts of relations and factors must add up."""
    for column in ("relation_counts", "factor_counts"):
        with pytest.raises(verification.BadBatch, match="fit together"):
            verify(changed(found, column, 0, getattr(found, column)[0] + 1))


@settings(deadline=None)
@given(st.data())
def test_a_byte_that_changed_on_the_way_never_gets_through(
    found: Coordinates, data: st.DataObject
) -> None:
    """It is refused, or it changed nothing."""
    written = bytearray(codec.encode(found))
    place = data.draw(st.integers(min_value=0, max_value=len(written) - 1))
    written[place] ^= data.draw(st.integers(min_value=1, max_value=255))
    try:
        relations = verification.verify(N, CHOSEN, 10, 4, bytes(written))
    except verification.BadBatch:
        return
    np.testing.assert_array_equal(verify(found).x, relations.x)
