#!/opt/programs/bin/python
"""SecantusDB in the place of `mongod`: what docker-compose.yml gives that program, as it understands it."""

import argparse
import os
import signal
import socket
import sys

from secantus.server import SecantusDBServer  # type: ignore[import-untyped]


class Member(SecantusDBServer):  # type: ignore[misc]
    """A server that tells drivers the host name of the container, as a member of a replica set does."""

    @property
    def address(self) -> tuple[str, int]:
        """Where other containers reach it."""
        return socket.gethostname(), 27017


def main() -> None:
    """Serve until told to end; without a key file to all, as MongoDB does while it makes its users."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--replSet", default="rs0")
    parser.add_argument("--keyFile")
    parser.add_argument("--bind_ip_all", action="store_true")
    asked = parser.parse_args()
    server = Member(
        host="0.0.0.0" if asked.bind_ip_all else "127.0.0.1",  # noqa: S104 of a container
        port=27017,
        storage_path="/data/db/secantus",
        replica_set_name=asked.replSet,
        require_auth=asked.keyFile is not None,
        enable_test_commands=False,
        sync_on_commit=True,
    )

    def end(*_: object) -> None:
        server.stop()
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    server.start()
    server.wait()


if __name__ == "__main__":
    os.umask(0o077)
    main()
