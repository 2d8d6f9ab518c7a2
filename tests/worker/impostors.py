"""Children that do not compute: they answer whatever a test wants, as one that was taken over might."""

import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from factor_worker.slots import forkserver
from infra.local.programs import ROOT

_LENGTH = struct.Struct("!Q")


class WritesFile:
    """Unpickling it writes a file that names the process which was so careless."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        """Return what an unpickler calls."""
        return _write_pid, (str(self._path),)


def _write_pid(path: str) -> None:
    Path(path).write_text(str(os.getpid()))


def framed(message: bytes) -> bytes:
    """Return a message as the channel carries it."""
    return _LENGTH.pack(len(message)) + message


def pickled(value: object) -> bytes:
    """Return a value as the channel carried it when answers were pickles."""
    return framed(pickle.dumps(value))


def packed(value: object) -> bytes:
    """Return a value as MessagePack, framed."""
    return framed(msgspec.msgpack.encode(value))


def answering(answer: bytes, *, then: str = "wait") -> Callable[..., forkserver.Process]:
    """Return what takes the place of `forkserver.launch`: its child answers every question in this way.

    Args:
        answer: The bytes.
        then: ``wait``, ``hang up`` without ending, or ``repeat`` them for ever.

    """

    def launch(channel: socket.socket, *_: object) -> forkserver.Process:
        with channel:
            command = [sys.executable, "-m", __name__, str(channel.fileno()), then]
            child = forkserver.Spawned(
                command, cwd=ROOT, stdin=subprocess.PIPE, pass_fds=[channel.fileno()]
            )
        assert child.stdin is not None
        child.stdin.write(answer)
        child.stdin.close()
        return child

    return launch


def main() -> None:
    """Be the child."""
    _, descriptor, then = sys.argv
    answer = sys.stdin.buffer.read()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    channel = socket.socket(fileno=int(descriptor))
    with channel.makefile("rwb") as stream:
        stream.write(packed({"slowness": 1.0}))
        stream.flush()
        [size] = _LENGTH.unpack(stream.read(_LENGTH.size))
        stream.read(size)
        stream.write(answer)
        stream.flush()
        while then == "repeat":
            stream.write(answer)
    if then == "hang up":
        channel.close()
    while True:
        time.sleep(1)


if __name__ == "__main__":
    main()
