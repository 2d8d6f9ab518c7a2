"""Compiles every kernel, or loads it from numba's cache: ``python -m factor_worker.engine.siqs.warm``.

Done when an environment or an image is built, and again by every child process before its first unit.
"""

import hashlib
from pathlib import Path
from typing import Final

from factor_worker.engine.siqs import complete
from factor_worker.engine.siqs.solve import filtering, linear_algebra
from factor_worker.engine.siqs.tiny import tiny

WARM_UP_NUMBER: Final = 1_000_000_000_039 * 1_000_000_000_061
"""Sieved and solved once."""
FOLDER: Final = Path(__file__).parent


def warm() -> None:
    """Return when nothing is left to compile."""
    warm_tiny()
    filtering.warm()
    linear_algebra.warm()
    complete.factor(WARM_UP_NUMBER)


def warm_tiny() -> None:
    """Return when nothing that the tiny sieve needs is left to compile."""
    forget_stale(FOLDER)
    tiny.factor(WARM_UP_NUMBER)


def forget_stale(folder: Path) -> bool:
    """Remove the compiled kernels of a folder and of those in it if any source there has changed since.

    numba looks only at the file of the kernel itself, and not at those of the kernels that it calls.
    Return whether any source had changed.
    """
    stamp = folder / "__pycache__" / "kernels.sha256"
    digest = hashlib.sha256()
    for source in sorted(folder.rglob("*.py")):
        digest.update(f"{source.relative_to(folder)}\0".encode())  # a moved file is another one
        digest.update(source.read_bytes())
    if stamp.exists() and stamp.read_text() == digest.hexdigest():
        return False
    try:
        stamp.parent.mkdir(exist_ok=True)
        for compiled in (*folder.rglob("*.nbi"), *folder.rglob("*.nbc")):
            compiled.unlink(missing_ok=True)  # another process may do the same
        stamp.write_text(digest.hexdigest())
    except OSError:
        return False  # not ours to write, as in the image, where they were compiled with it
    return True


if __name__ == "__main__":
    warm()
