"""What a child process may do besides computing: on Linux, next to nothing.

Landlock (Linux 5.13 and newer) takes rights away from the process that asks for it, and from all that it
starts, without any privilege. What is taken, kernel by kernel:

    5.13    files: a child reads the interpreter, the libraries and our own code, and writes nowhere. So it
            reads neither secrets nor the store. It traces no process outside its own family.
    6.7     TCP: it connects to nothing and listens nowhere.
    6.12    signals and abstract sockets: it reaches no process outside its own family.

See landlock(7). `factor_worker.slots.child` sets the limits of resources that hold everywhere.
"""

import ctypes
import os
import struct
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from common.runtime import failpoints

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on all processors
_VERSION_FLAG: Final = 1
_PATH_BENEATH: Final = 1
_PR_SET_NO_NEW_PRIVS = 38  # prctl(2)

_EXECUTE, _WRITE, _READ, _READ_FOLDER = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_ALL_OF_FILES: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""By version of the interface, every right that it knows."""
_TCP: Final = 0b11  # bind, connect
_SCOPES: Final = 0b11  # abstract sockets, signals
NET_SINCE: Final = 4
SCOPES_SINCE: Final = 6
_SYSTEM: Final = ("/usr", "/lib", "/lib64", "/bin", "/nix/store", "/etc/ld.so.cache")

Held = Literal["files", "network", "signals"]


def version() -> int:
    """Return the version of the kernel's interface; 0 if it has none, or a sandbox hides it."""
    if sys.platform != "linux":
        return 0
    known: int = _libc().syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)
    return max(0, known)


def in_force() -> list[Held]:
    """Return what children are kept from here, for the log."""
    known = version()
    held: list[Held] = ["files"] if known else []
    held += ["network"] if known >= NET_SINCE else []
    held += ["signals"] if known >= SCOPES_SINCE else []
    return held


def confine() -> None:
    """Give up every right that computing does not need, for good, as far as the kernel can take it.

    Raises:
        OSError: The kernel has the interface and yet refuses.

    """
    known = version()
    if not known:
        return
    laboratory = failpoints.folder()
    rights = max(value for since, value in _ALL_OF_FILES.items() if since <= known)
    ruleset = _ruleset(known, rights, signals=laboratory is not None)
    try:
        for path in _readable():
            _allow(ruleset, path, _EXECUTE | _READ | _READ_FOLDER)
        _allow(ruleset, Path(os.devnull), _READ | _WRITE)
        if laboratory is not None:
            _allow(ruleset, laboratory, rights)
        _checked(_libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _checked(_libc().syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)


def _ruleset(known: int, files: int, *, signals: bool) -> int:
    fields = [files]
    if known >= NET_SINCE:
        fields.append(_TCP)
    if known >= SCOPES_SINCE:
        fields.append(_SCOPES & ~0b10 if signals else _SCOPES)
    packed = struct.pack(f"={len(fields)}Q", *fields)
    return _checked(_libc().syscall(_CREATE_RULESET, packed, ctypes.c_size_t(len(packed)), 0))


def _readable() -> Iterator[Path]:
    """Yield what a child may read after its birth: modules and libraries that are loaded late."""
    ours = Path(__file__).parents[1]
    yield from (ours, ours.with_name("common"))
    yield from map(Path, {sys.prefix, sys.base_prefix, *sysconfig.get_paths().values()})
    yield from (Path(one) for one in sys.path if one.endswith(("site-packages", "dist-packages")))
    yield from map(Path, _SYSTEM)
    if "NUMBA_CACHE_DIR" in os.environ:
        yield Path(os.environ["NUMBA_CACHE_DIR"])


def _allow(ruleset: int, path: Path, rights: int) -> None:
    """Allow these rights below a folder, or those that a file can have; skip what does not exist."""
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not path.is_dir():
            rights &= _EXECUTE | _READ | _WRITE
        rule = struct.pack("=Qi", rights, place)
        _checked(_libc().syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0))
    finally:
        os.close(place)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(returned: int) -> int:
    if returned < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return returned
