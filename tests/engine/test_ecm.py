"""GMP-ECM runs deterministically, its output is checked, and it is never left running."""

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from factor_worker.engine import verify
from factor_worker.engine.curves import ecm, effort, gmp_ecm
from factor_worker.engine.curves.effort import Method
from tests.engine import examples

Q60 = examples.next_prime(10**60 + 12345)
LUCKY_SIGMA = 37
LONG_B1 = 10**9
DEADLINE_S = 10.0
T = TypeVar("T")

PARENT = f"""
from factor_worker.engine.curves import ecm, effort
ecm.run_batch({examples.P40 * Q60}, effort.Method.ECM, {LONG_B1}, [6])
"""


def test_a_lucky_sigma_finds_its_factor_every_time() -> None:
    """A unit is deterministic: the same sigma finds the same 25-digit factor."""
    n = examples.P25 * Q60
    expected = ecm.CurveBatch((examples.P25, Q60), 1)

    for _ in range(2):
        assert ecm.run_batch(n, Method.ECM, 50_000, [LUCKY_SIGMA]) == expected


def test_a_batch_stops_at_the_first_success_and_counts_the_curves() -> None:
    """Curves that were not run are not counted."""
    sigmas = [LUCKY_SIGMA - 2, LUCKY_SIGMA - 1, LUCKY_SIGMA, LUCKY_SIGMA + 1]

    found = ecm.run_batch(examples.P25 * Q60, Method.ECM, 50_000, sigmas)

    assert found.curves == 3
    assert found.divisors


def test_curves_without_success_are_counted() -> None:
    """A batch that finds nothing returns how many curves it ran."""
    assert ecm.run_batch(examples.P40 * Q60, Method.ECM, 2_000, [6, 7, 8]) == ecm.CurveBatch((), 3)


@pytest.mark.parametrize(
    ("method", "smooth"),
    [(Method.P_MINUS_1, 1), (Method.P_PLUS_1, -1)],
)
def test_p_minus_1_and_p_plus_1_find_primes_with_smooth_neighbours(
    method: Method, smooth: int
) -> None:
    """A large prime p with smooth p - 1 or p + 1 is found in four runs at most."""
    # Such a p has every small prime for a square, so the starting points must not be small.
    base = 2**8 * 3**6 * 5**4 * 7**3 * 101 * 1009 * math.prod([11, 13, 17, 19, 23, 29, 31, 37, 41])
    candidates = (k * base + smooth for k in range(1, 5000))
    p = next(c for c in candidates if verify.is_prime(c))

    assert p in ecm.run_batch(p * Q60, method, 20_000, [2024, 31337, 271828, 314159]).divisors


def test_a_time_limit_only_truncates_the_batch() -> None:
    """Curves not finished in time are not counted, and the call returns in time."""
    begun = time.monotonic()

    found = ecm.run_batch(examples.P40 * Q60, Method.ECM, LONG_B1, [6, 7], timeout_s=0.5)

    assert found == ecm.CurveBatch((), 0)
    assert time.monotonic() - begun < DEADLINE_S


def test_small_numbers_are_factored_without_the_program() -> None:
    """Below 30 digits GMP-ECM would find all factors at once, hence none."""
    assert ecm.run_batch(15, Method.ECM, 2_000, [6]) == ecm.CurveBatch((3, 5), 0)
    assert ecm.run_batch(1009**2, Method.ECM, 2_000, [6]) == ecm.CurveBatch((1009,), 0)
    assert ecm.run_batch(1009, Method.ECM, 2_000, [6]) == ecm.CurveBatch((), 0)


def test_degenerate_numbers_give_true_divisors_or_none() -> None:
    """Powers of ten, squares and primes."""
    for n in (10**50, examples.P25**2, examples.P25**2 * examples.P20, Q60):
        found = ecm.run_batch(n, Method.ECM, 11_000, range(6, 12))

        assert all(1 < d < n and n % d == 0 for d in found.divisors)


def test_a_sigma_out_of_range_is_refused() -> None:
    """The error names the sigma, and no process is started."""
    for sigma in (0, 5, -7, 1 << 64):
        with pytest.raises(ValueError, match="sigma"):
            ecm.run_batch(examples.P25 * Q60, Method.ECM, 2_000, [sigma])


def test_an_error_of_the_program_is_reported() -> None:
    """The error contains what the program wrote."""
    with pytest.raises(gmp_ecm.EcmFailed, match="sigma"):
        gmp_ecm.run_once(examples.P25 * Q60, ["-sigma", "0:5", "2000"], timeout_s=DEADLINE_S)


def test_a_missing_program_is_reported_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither the wheel nor an `ecm` on PATH."""
    monkeypatch.setattr(gmp_ecm, "WHEEL", "no-such-wheel")
    monkeypatch.setenv("PATH", "/nowhere")
    gmp_ecm.binary.cache_clear()
    try:
        with pytest.raises(gmp_ecm.EcmMissing, match="apt install gmp-ecm"):
            gmp_ecm.binary()
    finally:
        gmp_ecm.binary.cache_clear()


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG and /proc")
def test_the_program_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """SIGKILL of the process that started it leaves no orphan and no file."""
    root = Path(__file__).parent.parent.parent
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", PARENT]
    parent = subprocess.Popen(command, cwd=tmp_path, env=environment)  # noqa: S603 - ours
    try:
        child = wait_for(lambda: children(parent.pid, "ecm"))[0]
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()

    assert wait_for(lambda: not is_alive(child))
    assert not list(tmp_path.iterdir())


def test_costs_grow_with_size_and_bound_and_units_stay_short() -> None:
    """A unit has at least one curve, and about as many seconds as asked for where a curve takes less."""
    for level in effort.LEVELS:
        for n_digits in (50, 100, 300, 1000):
            curves = effort.curves_per_unit(n_digits, level.b1, seconds=5.0)
            cost = effort.seconds_per_curve(n_digits, level.b1)

            assert curves >= 1
            assert curves == 1 or curves * cost < 7.5


def children(pid: int, name: str) -> list[int]:
    """Return the ids of the children of a process that run a program of that name."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(c) for c in found if Path(f"/proc/{c}/comm").read_text().strip() == name]


def is_alive(pid: int) -> bool:
    """Return whether a process runs: a zombie that waits for its reaper does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(condition: Callable[[], T]) -> T:
    """Return what the condition gives as soon as it gives something true."""
    deadline = time.monotonic() + DEADLINE_S
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.005)
    return value
