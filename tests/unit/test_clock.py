"""The clock that follows the store's: its error stays within what the answers prove."""

import ast
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.runtime import clock
from common.runtime.clock import Clock

ROOT = Path(__file__).parent.parent.parent
ANSWERS = st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5)), min_size=1, max_size=20)
"""How long each question and its answer took, in seconds."""


@given(ahead=st.floats(-1e9, 1e9), answers=ANSWERS)
def test_its_error_is_at_most_half_of_the_first_and_all_of_the_quickest_answer(
    ahead: float, answers: list[tuple[float, float]]
) -> None:
    """However long answers take, and in whichever direction they are slow."""
    followed, at = Clock(), 1000.0
    for there, back in answers:
        followed.learn(at + there + ahead, asked_at=at, answered_at=at + there + back)
        at += 30

    error = abs(followed.now() - clock.elapsed() - ahead)
    quickest = min(there + back for there, back in answers)

    assert error <= quickest + 1e-3
    assert error <= max(sum(answers[0]) / 2, quickest) + 1e-3


def test_a_machine_whose_clock_is_set_has_the_servers_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour ahead when the program starts, a day behind later."""
    true = time.time
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: true() + 3600)
        followed = Clock()
        now = clock.elapsed()
        followed.learn(true(), asked_at=now, answered_at=now)

        assert followed.now() == pytest.approx(true(), abs=1)
        assert followed.skew == pytest.approx(3600, abs=1)

        patch.setattr(time, "time", lambda: true() - 86_400)

        assert followed.now() == pytest.approx(true(), abs=1)


def test_another_server_that_takes_over_is_followed() -> None:
    """Its clock is behind: the first answer moves ours."""
    followed = Clock()
    followed.learn(5000.0, asked_at=10.0, answered_at=10.1)
    followed.learn(4990.0, asked_at=20.0, answered_at=20.1)

    assert followed.now() - clock.elapsed() == pytest.approx(4970, abs=0.11)


def test_no_program_reads_its_machines_clock() -> None:
    """What one program writes another compares, so all times are `Store.now`'s."""
    readers = {
        str(path.relative_to(ROOT))
        for package in ("common", "gateway", "factor_worker")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and (node.attr, ast.unparse(node.value))
        in {("time", "time"), ("now", "datetime"), ("utcnow", "datetime"), ("time_ns", "time")}
    }

    assert {"common/runtime/clock.py", "common/store/sqlite/file.py"} == readers
