"""Compiles every kernel or loads it from numba's cache: ``python -m factor_worker.engine.siqs.warm``.

This runs when an environment or an image is built, and in a worker's fork server when that starts.
"""

import hashlib
import os
from pathlib import Path
from typing import Final

from factor_worker.engine.siqs import complete
from factor_worker.engine.siqs.solve import filtering, linear_algebra
from factor_worker.engine.siqs.tiny import tiny

WARM_UP_NUMBER: Final = 1_000_000_000_039 * 1_000_000_000_061
"""A number that is sieved and solved once, on the way through every kernel."""
FOLDER: Final = Path(__file__).parent


def warm() -> None:
    """Compile or load every kernel; return when nothing is left to compile."""
    warm_tiny()
    filtering.warm()
    linear_algebra.warm()
    complete.factor(WARM_UP_NUMBER)


def warm_tiny() -> None:
    """Compile or load the kernels that the tiny sieve needs."""
    if (
        "NUMBA_CACHE_DIR" not in os.environ
    ):  # such a folder is named after the sources or built with them
        forget_stale(FOLDER)
    tiny.factor(WARM_UP_NUMBER)


def forget_stale(folder: Path) -> bool:
    """Remove all compiled kernels below a folder if any source below it has changed since they were made.

    numba's cache compares the file of a kernel only, not those of the kernels that it calls. Returns whether
    they were removed. A folder that is not writable, as in the image, is left alone.
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
        return False
    return True


if __name__ == "__main__":
    warm()
