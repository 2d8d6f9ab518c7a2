"""Factors a number completely in one call: by FLINT if it is small, by our own sieve above that."""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from flint import fmpz

from factor_worker.engine import coprime, primality
from factor_worker.engine.parts import (
    Certainty,
    Decomposition,
    Part,
    digits,
    ordered,
    raised,
    require_above_one,
)

PROOF_INSIDE_DIGITS: Final = 100
"""Primes up to this size are proven at once; larger ones come back `probable`."""
SIEVE_FROM_DIGITS: Final = 49
"""Where our own sieve overtakes FLINT's (`benchmarks.engine`)."""
LEFTOVER_AGE_S: Final = 600.0
_SCRATCH = Path("/tmp")  # noqa: S108 - FLINT has this path compiled in and heeds no TMPDIR


def factor_completely(n: int) -> Decomposition:
    """Return n >= 2 as a product of primes.

    From `SIEVE_FROM_DIGITS` on n must have no small factor and be no perfect power; our own sieve
    takes 0.25 s for 50 digits and 2 s for 60, FLINT's two to three times as long.
    """
    require_above_one(n)
    if digits(n) < SIEVE_FROM_DIGITS or n % 2 == 0 or primality.is_probable_prime(n):
        return _by_flint(n)
    from factor_worker.engine.siqs import complete  # noqa: PLC0415 numba: only where it is needed

    pieces = coprime.split([Part(n, 1, Certainty.COMPOSITE)], complete.factor(n))
    if len(pieces) == 1:
        return _by_flint(n)
    return ordered(
        found
        for piece in pieces
        for found in raised(factor_completely(piece.value), piece.exponent)
    )


def _by_flint(n: int) -> Decomposition:
    """Return n as a product of primes: 0.1 s for 40 digits, 0.4 for 50.

    FLINT's quadratic sieve keeps its relations in a file, /tmp/siqsXXXXXX, which it removes at
    the end but not when it is killed: `remove_leftovers` does.
    """
    return ordered(prime_part(int(p), exponent) for p, exponent in fmpz(n).factor())


def prime_part(p: int, exponent: int) -> Part:
    """Return the part of what should be prime, proven up to `PROOF_INSIDE_DIGITS`."""
    prove = digits(p) <= PROOF_INSIDE_DIGITS
    return Part(p, exponent, primality.classify(p, prove=prove))


def remove_leftovers(*, older_than_s: float = LEFTOVER_AGE_S) -> int:
    """Remove the files that killed quadratic sieves of this user left; return how many.

    Files are spared that were written lately or that any process that we may look at has open.
    """
    latest = time.time() - older_than_s
    names = _SCRATCH.glob("siqs??????")
    old = {str(path) for path in names if _is_ours_and_older(path, latest)}
    doomed = old - _open_files() if old else old
    for name in doomed:
        with suppress(OSError):
            Path(name).unlink()
    return len(doomed)


def _is_ours_and_older(path: Path, latest: float) -> bool:
    with suppress(OSError):
        status = path.lstat()
        return status.st_uid == os.getuid() and status.st_mtime < latest
    return False


def _open_files() -> set[str]:
    """Return the paths that the processes of this machine have open, as far as we may know."""
    found: set[str] = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            found.add(str(link.readlink()))
    return found
