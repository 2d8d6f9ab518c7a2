"""SecantusDB, a server that speaks MongoDB's protocol, as a child process on loopback.

It is a beta: good for tests and for trying things out, not for production or for measuring speed.
"""

import json
import os
import struct
import sys
from collections.abc import Mapping
from pathlib import Path

import bson
import pymongo

from infra.local.processes import Process, find_program, free_ports, replies
from infra.local.secrets import make_secrets

HOW = "`make test` and `make stack` install it from requirements-dev.lock where it has a wheel"
ROLES = Path(__file__).parents[1] / "mongo" / "roles.json"
"""What each program may do, by collection; Compose's MongoDB gets the same roles."""
DATABASE = "factorline"

OP_MSG = 2013
"""The opcode of MongoDB's only message; it has a header, flags and a section of kind 0."""


def _ping() -> bytes:
    body = struct.pack("<ib", 0, 0) + bson.encode({"ping": 1, "$db": "admin"})
    return struct.pack("<iiii", 16 + len(body), 1, 0, OP_MSG) + body


def roles() -> Mapping[str, Mapping[str, list[str]]]:
    """Return program → collection → the actions that it may perform there."""
    permitted: dict[str, dict[str, list[str]]] = json.loads(ROLES.read_text())
    return permitted


class MongoServer(Process):
    """A MongoDB-wire server; what it acknowledges is synced to disk."""

    def __init__(self, folder: Path, *, name: str = "mongo") -> None:
        [self.port] = free_ports(1)
        self._address = f"127.0.0.1:{self.port}/{DATABASE}?directConnection=true"
        program = find_program("secantusd-py", how=HOW, first=[str(Path(sys.executable).parent)])
        command = [program, "--host", "127.0.0.1", "--port", str(self.port), "--sync-on-commit"]
        command += ["--storage-path", str(folder / "data"), "--log-level", "WARNING"]
        super().__init__(name, command, folder=folder, env=os.environ)

    @property
    def uri(self) -> str:
        """The connection string of a user with all rights."""
        return f"mongodb://{self._address}"

    async def ready(self) -> bool:
        """Return whether the server answers a ping; a refusal counts as an answer."""
        return await replies(self.port, _ping())


class GuardedMongoServer(MongoServer):
    """A MongoDB-wire server with authentication, and a user for each program."""

    def __init__(self, folder: Path, *, name: str = "mongo") -> None:
        super().__init__(folder, name=name)
        self._secrets = folder / "secrets"
        make_secrets(self._secrets, ["mongo_root", *(f"mongo_{program}" for program in roles())])
        self._marker = folder / "guarded"
        self._open_command = list(self.command)

    def secret(self, user: str) -> Path:
        """Return the file that holds a user's password."""
        return self._secrets / f"mongo_{user}"

    def uri_of(self, user: str) -> str:
        """Return a program's connection string, without the password."""
        return f"mongodb://{user}@{self._address}"

    @property
    def uri(self) -> str:
        """The connection string of a user with all rights, password included."""
        return f"mongodb://root:{self.secret('root').read_text()}@{self._address}&authSource=admin"

    @property
    def _guarded(self) -> bool:
        """Whether its users exist. They are part of its data, which may have been lost."""
        return self._marker.exists() and (self.folder / "data").exists()

    def spawn(self) -> None:
        """Start the server, with authentication once its users exist."""
        self.command = [*self._open_command, *(["--auth"] if self._guarded else [])]
        super().spawn()

    async def start(self) -> None:
        """Start the server and return when it serves. The first time, make its users and start it again."""
        guarded = self._guarded
        await super().start()
        if not guarded:
            self._marker.unlink(missing_ok=True)
            await self._make_users()
            await super().stop()
            self._marker.touch()
            await super().start()

    async def _make_users(self) -> None:
        """Do what infra/mongo/users.js does in a container."""
        async with pymongo.AsyncMongoClient[dict[str, object]](super().uri) as client:
            everything = [{"role": "root", "db": "admin"}]
            root = self.secret("root").read_text()
            await client["admin"].command("createUser", "root", pwd=root, roles=everything)
            for name, collections in roles().items():
                privileges = [
                    {"resource": {"db": DATABASE, "collection": collection}, "actions": actions}
                    for collection, actions in collections.items()
                ]
                database = client[DATABASE]
                await database.command("createRole", name, privileges=privileges, roles=[])
                password = self.secret(name).read_text()
                await database.command("createUser", name, pwd=password, roles=[name])
