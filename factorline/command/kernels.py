"""Has the sieve's kernels compiled once for an installation, into the user's cache.

A checkout keeps them beside the sources instead (infra/venv.sh), and an image has them inside.
"""

import hashlib
import importlib.metadata
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from factorline.command.exits import Exit

_WARM = "factor_worker.engine.siqs.warm"


def compiled(server: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variable that tells numba where the kernels are, after compiling them if need be.

    Args:
        server: The folder of the server's packages.
        environ: The environment of the program to be started. A `NUMBA_CACHE_DIR` in it is the
            user's own choice, and then nothing is done here.

    """
    if "NUMBA_CACHE_DIR" in environ:
        return {}
    folder = _cache(environ) / "factorline" / f"kernels-{_digest(server)}"
    chosen = {"NUMBA_CACHE_DIR": str(folder)}
    complete = folder / "complete"
    if complete.exists():
        return chosen
    print(
        f"Compiling the sieve into {folder}: once for this installation, about a minute ...",
        file=sys.stderr,
        flush=True,
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-P", "-m", _WARM]
        subprocess.run(command, env={**environ, **chosen}, capture_output=True, check=True)  # noqa: S603 our own
        complete.touch()
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
    except OSError as error:
        sys.exit(f"factorline: {error}. Set XDG_CACHE_HOME to a folder that can be written to.")
    except subprocess.CalledProcessError as error:
        sys.exit(f"factorline: the sieve cannot be compiled:\n{error.stderr.decode()}")
    return chosen


def _cache(environ: Mapping[str, str]) -> Path:
    """Return the user's folder for what can be made again."""
    if chosen := environ.get("XDG_CACHE_HOME"):
        return Path(chosen)
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")


def _digest(server: Path) -> str:
    """Return a name for everything that the kernels depend on; an upgrade changes it.

    numba itself looks only at the file of a kernel, and not at those of the kernels that it calls.
    The folder counts too, because numba files its kernels under it.
    """
    parts = [str(server), sys.implementation.cache_tag, importlib.metadata.version("numba")]
    digest = hashlib.sha256("\0".join(parts).encode())
    for source in sorted((server / "factor_worker" / "engine").rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]
