"""Compiled kernels are used only as long as no source has changed."""

import subprocess
import sys
from pathlib import Path

from factor_worker.engine.siqs import warm

CALLED = "from numba import njit\n\n@njit(cache=True)\ndef called(x):\n    return x + {}\n"
CALLER = (
    "from numba import njit\nfrom kernels.words.called import called\n\n"
    "@njit(cache=True)\ndef caller(x):\n    return called(x)\n"
)


def kernels(folder: Path) -> Path:
    """Return a package of two kernels, of which one calls the other, each in a folder of its own."""
    package = folder / "kernels"
    for name, text in {"words/called.py": CALLED.format(1), "sieve/caller.py": CALLER}.items():
        path = package / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return package


def called_with_1(package: Path) -> int:
    """Return what the calling kernel gives for 1 in a new process, as in a worker that just started."""
    program = "from kernels.sieve.caller import caller; print(caller(1))"
    command = [sys.executable, "-c", program]
    return int(subprocess.check_output(command, cwd=package.parent))  # noqa: S603 no input of others


def test_a_kernel_that_calls_what_was_edited_in_another_folder_is_compiled_anew(
    tmp_path: Path,
) -> None:
    """Numba alone would go on using the old one, since it checks the file of the caller only."""
    package = kernels(tmp_path)
    assert warm.forget_stale(package)
    assert called_with_1(package) == 2

    (package / "words" / "called.py").write_text(CALLED.format(2))
    assert called_with_1(package) == 2, "numba sees it by itself: forget_stale has become needless"
    assert warm.forget_stale(package)

    assert called_with_1(package) == 3


def test_kernels_stay_while_no_source_changes(tmp_path: Path) -> None:
    """Compiling them takes half a minute."""
    package = kernels(tmp_path)
    warm.forget_stale(package)
    kernel = package / "words" / "called.nbi"
    kernel.touch()

    assert not warm.forget_stale(package)
    assert kernel.exists()
