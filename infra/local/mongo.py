"""SecantusDB, a server that speaks MongoDB's protocol, as a child process on loopback.

It is a beta: right for tests and for a look around, wrong for production and for measuring speed.
"""

import os
import struct
import sys
from pathlib import Path

import bson

from infra.local.processes import Process, find_program, free_ports, replies

HOW = "`make test` and `make stack` install it from requirements-dev.lock where it has a wheel"

OP_MSG = 2013
"""The one message of MongoDB's wire protocol; a header, flags and a section of kind 0 follow."""


def _ping() -> bytes:
    body = struct.pack("<ib", 0, 0) + bson.encode({"ping": 1, "$db": "admin"})
    return struct.pack("<iiii", 16 + len(body), 1, 0, OP_MSG) + body


class MongoServer(Process):
    """A MongoDB-wire server that has synced what it acknowledged."""

    def __init__(self, folder: Path, *, name: str = "mongo") -> None:
        [self.port] = free_ports(1)
        self.uri = f"mongodb://127.0.0.1:{self.port}/factorline?directConnection=true"
        program = find_program("secantusd-py", how=HOW, first=[str(Path(sys.executable).parent)])
        command = [program, "--host", "127.0.0.1", "--port", str(self.port), "--sync-on-commit"]
        command += ["--storage-path", str(folder / "data"), "--log-level", "WARNING"]
        super().__init__(name, command, folder=folder, env=os.environ)

    async def ready(self) -> bool:
        """Return whether the server answers a ping."""
        return await replies(self.port, _ping())
