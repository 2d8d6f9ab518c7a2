"""Verification accepts true decompositions and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factor_worker.engine import verify
from factor_worker.engine.parts import Certainty, Part
from tests.engine import examples

P, Q = examples.P20, examples.P25
PROVEN, COMPOSITE = Certainty.PROVEN, Certainty.COMPOSITE
PAIR = (Part(P, 1, PROVEN), Part(Q, 2, PROVEN))
NUMBER = P * Q**2


def test_true_decompositions_are_accepted() -> None:
    """Complete and incomplete ones."""
    verify.verify(NUMBER, PAIR)
    verify.verify(NUMBER, (Part(NUMBER, 1, COMPOSITE),))
    verify.verify(NUMBER, (Part(P, 1, Certainty.PROBABLE), Part(Q**2, 1, COMPOSITE)))


@pytest.mark.parametrize(
    ("n", "parts", "says"),
    [
        (NUMBER + 1, PAIR, "product"),
        (NUMBER, PAIR[:1], "product"),
        (NUMBER, (), "product"),
        (NUMBER, (PAIR[0], Part(Q, 3, PROVEN)), "product"),
        (NUMBER, (Part(P * Q**2, 1, PROVEN),), "called proven"),
        (NUMBER, (Part(P, 1, COMPOSITE), PAIR[1]), "called composite"),
        (NUMBER, (Part(Q, 1, PROVEN), Part(P * Q, 1, COMPOSITE)), "common factor"),
        (NUMBER, PAIR[::-1], "ascending"),
        (NUMBER, (PAIR[0], Part(Q, 1, PROVEN), Part(Q, 1, PROVEN)), "ascending"),
        (NUMBER, (Part(1, 1, PROVEN), *PAIR), "above 1"),
        (NUMBER, (Part(-P, 1, PROVEN), Part(-(Q**2), 1, PROVEN)), "above 1"),
        (NUMBER, (Part(2, 0, PROVEN), *PAIR), "above 1"),
        (561, (Part(561, 1, PROVEN),), "called proven"),
    ],
)
def test_a_false_decomposition_is_refused(n: int, parts: tuple[Part, ...], says: str) -> None:
    """The message says in what it is false."""
    with pytest.raises(verify.WrongDecomposition, match=says):
        verify.verify(n, parts)


@given(st.integers(0, 1), st.integers(-(10**30), 10**30).filter(bool))
def test_a_changed_value_is_refused(which: int, change: int) -> None:
    """No other value can stand for a prime of the decomposition."""
    parts = list(PAIR)
    parts[which] = parts[which]._replace(value=parts[which].value + change)

    with pytest.raises(verify.WrongDecomposition):
        verify.verify(NUMBER, tuple(parts))
