"""Compiles every kernel, or loads it from numba's cache: ``python -m factor_worker.engine.siqs.warm``.

Done when an environment or an image is built, and again by every child process before its first unit.
"""

import hashlib
from pathlib import Path
from typing import Final

from factor_worker.engine.siqs import complete, filtering, linear_algebra, tiny

SMALLEST: Final = 1_000_000_000_039 * 1_000_000_000_061
"""Sieved and solved once."""
HERE: Final = Path(__file__).parent


def warm() -> None:
    """Return when nothing is left to compile."""
    warm_tiny()
    filtering.warm()
    linear_algebra.warm()
    complete.factor(SMALLEST)


def warm_tiny() -> None:
    """Return when nothing that the tiny sieve needs is left to compile."""
    forget_stale(HERE)
    tiny.factor(SMALLEST)


def forget_stale(folder: Path) -> bool:
    """Remove compiled kernels if any source has changed since; return whether any had.

    numba looks only at the file of the kernel itself, and not at those of the kernels that it calls.
    """
    cache = folder / "__pycache__"
    stamp = cache / "kernels.sha256"
    sources = sorted(folder.glob("*.py"))
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return False
    try:
        cache.mkdir(exist_ok=True)
        for compiled in (*cache.glob("*.nbi"), *cache.glob("*.nbc")):
            compiled.unlink(missing_ok=True)  # another process may do the same
        stamp.write_text(digest)
    except OSError:
        return False  # not ours to write, as in the image, where they were compiled with it
    return True


if __name__ == "__main__":
    warm()
