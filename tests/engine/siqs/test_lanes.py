"""Vector operations agree with plain loops over the same words, on every class of processors."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from llvmlite import binding
from numba import njit

from factor_worker.engine.siqs.words import lanes
from factor_worker.engine.siqs.words.arithmetic import Word
from factor_worker.engine.siqs.words.arrays import Ids
from factor_worker.engine.siqs.words.lanes import CHUNK, LANES

PRIMES = np.array(
    [101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167, 173, 179],
    dtype=np.uint32,
)
LENGTH, TIMES = 400, 4

INSTRUCTIONS = {"x86-64": "sse2", "x86-64-v3": "avx2", "x86-64-v4": "avx512bw"}
"""The feature that shows whether this machine can run code for a class of processors."""
CLASSES = [
    name for name, needed in INSTRUCTIONS.items() if binding.get_host_cpu_features().get(needed)
]


@njit(cache=True)
def _collect(roots: tuple[Ids, Ids], steps: Ids, primes: Ids, add: bool, hits: Ids) -> int:  # noqa: FBT001 numba has no keywords
    return lanes.advance_and_collect(
        roots[0], roots[1], steps, primes, hits, 0, add, np.uint32(LENGTH), TIMES, 1
    )


@njit(cache=True)
def _contains(values: Ids, start: int, wanted: np.uint32) -> bool:
    return lanes.contains(values, start, wanted)


@njit(cache=True)
def _root_hits(roots: tuple[Ids, Ids], divisors: tuple[Ids, Ids], position: np.uint32) -> Word:
    return lanes.root_hits(roots[0], roots[1], divisors[0], divisors[1], 0, position)


def below(primes: Ids, seed: int) -> Ids:
    """Return a random residue for each prime."""
    return np.random.default_rng(seed).integers(0, primes, dtype=np.uint32)


@pytest.mark.parametrize("add", [True, False])
def test_roots_move_and_their_hits_are_listed(add: bool) -> None:  # noqa: FBT001 pytest passes it
    """All hits inside the interval and no others, after what the list had before."""
    first, second, steps = below(PRIMES, 1), below(PRIMES, 2), below(PRIMES, 3)
    moved = [
        (roots.astype(int) + (steps if add else -steps.astype(int))) % PRIMES
        for roots in (first, second)
    ]
    expected = [
        hit
        for roots in moved
        for root, p in zip(roots.tolist(), PRIMES.tolist(), strict=True)
        for hit in range(root, LENGTH, p)
    ]
    hits = np.full(1 + 2 * LANES * TIMES + LANES, 7, dtype=np.uint32)

    count = _collect((first, second), steps, PRIMES, add, hits)

    assert 1 + len(expected) == count
    assert 7 == hits[0]
    assert sorted(expected) == sorted(hits[1:count].tolist())
    assert [moved[0].tolist(), moved[1].tolist()] == [first.tolist(), second.tolist()]


@pytest.mark.parametrize("place", [0, 1, LANES, CHUNK - 1])
def test_a_value_is_found_wherever_it_is(place: int) -> None:
    """Among `CHUNK` values from the start on, and not beyond."""
    values = np.arange(1000, 1000 + 2 * CHUNK, dtype=np.uint32)

    assert _contains(values, 3, values[3 + place])
    assert not _contains(values, 3, values[2])
    assert not _contains(values, 3, values[3 + CHUNK])


def test_positions_congruent_to_a_root_are_recognised() -> None:
    """For every position of an interval and every prime."""
    first, second = below(PRIMES, 4), below(PRIMES, 5)
    inverses = np.array([pow(p, -1, 1 << 32) for p in PRIMES.tolist()], dtype=np.uint32)
    quotients = (np.uint32(0xFFFFFFFF) // PRIMES).astype(np.uint32)
    for position in range(200, 1000):
        hits = (position - first.astype(int)) % PRIMES * ((position - second.astype(int)) % PRIMES)
        expected = sum(1 << lane for lane in np.flatnonzero(hits == 0).tolist())

        assert expected == _root_hits((first, second), (inverses, quotients), np.uint32(position))


@pytest.mark.parametrize("processor", CLASSES or ["generic"])
def test_every_class_of_processors_gets_correct_code(processor: str, tmp_path: Path) -> None:
    """The tests above pass when compiled for each class that this machine can run."""
    options = ["-m", "pytest", "-n0", "--noconftest", "-p", "no:cacheprovider", "-k"]
    command = [sys.executable, *options, "not every_class", __file__]
    own = {
        "NUMBA_CPU_NAME": processor,
        "NUMBA_CPU_FEATURES": "",
        "NUMBA_CACHE_DIR": str(tmp_path),
    }
    done = subprocess.run(  # noqa: S603 our own interpreter
        command, env=os.environ | own, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout
    assert "7 passed" in done.stdout
